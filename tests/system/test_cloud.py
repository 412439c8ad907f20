"""Object stores: what their drivers do with real servers, and recoveries from them."""

import json
from pathlib import Path

import pytest

from harness import azurite, ceph, network, s3rver, swift
from harness.cutting_proxy import CuttingProxy
from harness.firebase import Firebase
from program import DONE, FAILED, NOT_GOOD, REFUSED
from stores import MEBIBYTE, needs_ceph, needs_npm, needs_swift, run_suite, suite, verify


# --- S3 ---


@needs_npm
def test_s3(s3):
    run_suite(s3.location("some/where", page_size=7), "--emulator", "--big", 20 * MEBIBYTE)


@needs_npm
def test_s3_says_what_is_wrong(recovery, s3):
    env = {"AWS_ACCESS_KEY_ID": s3rver.KEY_ID, "AWS_SECRET_ACCESS_KEY": s3rver.SECRET,
           "AWS_ENDPOINT_URL": s3.endpoint}
    error = verify(recovery, "s3://nowhere/", NOT_GOOD, env)
    assert "NoSuchBucket" in error["error"] and "bucket_name" in error["hint"]
    error = verify(recovery, "s3://backups/", NOT_GOOD, {**env, "AWS_SECRET_ACCESS_KEY": "wr0ng"})
    assert "SignatureDoesNotMatch" in error["error"] and "wr0ng" not in str(error)
    error = verify(recovery, "s3://backups/", NOT_GOOD, {**env, "AWS_ACCESS_KEY_ID": "nobody"})
    assert "InvalidAccessKeyId" in error["error"]
    error = verify(recovery, "s3://backups?anonymous=true", NOT_GOOD, env)
    assert "there is no .rdb" in error["error"]  # anybody may list it
    error = verify(recovery, "s3://backups/empty/", NOT_GOOD, env)
    assert ".rdb" in error["error"]


def assert_nowhere(top, secrets, but=()):
    """None of these in any file below, but for some."""
    for path in Path(top).rglob("*"):
        if path.is_file() and not path.is_symlink() and path not in but:
            data = path.read_bytes()
            for secret in secrets:
                assert secret.encode() not in data, f"{secret} is in {path}"


@needs_npm
def test_recovery_from_s3(cluster, recovery, s3):
    made = cluster.add("orders", primaries=2, replicas=1, password="secret")
    for path in made.files:
        s3.put(f"some/where/{path.name}", path.read_bytes())
        path.unlink()
    recovery.sources = {"db:1": f"s3://backups/some/where?endpoint={s3.endpoint}"}
    recovery.add_hosts(2).write()
    env = {"AWS_ACCESS_KEY_ID": s3rver.KEY_ID, "AWS_SECRET_ACCESS_KEY": s3rver.SECRET,
           "HOME": recovery.folder}
    recovery.recover("--verbose", env=env)
    recovery.assert_recovered(made)


@pytest.mark.slow
@needs_npm
@needs_swift
def test_recovery_by_hmac_keys_and_from_behind_keystone(cluster, recovery, folder, net, s3, openstack):
    by_keys = cluster.add("orders", primaries=2)
    behind = cluster.add("sessions", replicas=1)
    for path in by_keys.files:
        s3.put(f"some/where/{path.name}", path.read_bytes())
        path.unlink()
    openstack.put(f"backups/x/{behind.files[0].name}", behind.files[0].read_bytes())
    behind.files[0].unlink()
    with swift.Keystone(openstack, net.addr(25), 5000) as keystone:
        recovery.sources = {
            "db:1": {"type": "gs", "bucket_name": "backups", "subdir": "some/where", "endpoint": s3.endpoint,
                     "access_key_id": s3rver.KEY_ID, "secret_access_key": {"env": "HMAC_SECRET"}},
            "db:2": {**keystone.location(prefix="x", key={"env": "KEYSTONE_PASSWORD"}), "insecure": True},
        }
        recovery.add_hosts(2).write()
        recovery.recover(env={"HMAC_SECRET": s3rver.SECRET, "KEYSTONE_PASSWORD": keystone.PASSWORD, "HOME": folder})
    for one in (by_keys, behind):
        recovery.assert_recovered(one)


@needs_npm
def test_secrets_of_a_failed_recovery_are_written_nowhere(cluster, recovery, folder, net):
    """Not even when nothing works."""
    canary = "cAnArY0123456789"
    cluster.add("orders", keys=20)
    recovery.sources = {"db:1": f"s3://backups/some?endpoint=http://{net.addr(30)}:9"}
    recovery.add_hosts(1).write()
    env = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": canary,
           "AWS_SESSION_TOKEN": canary + "2", "HOME": recovery.folder}
    run = recovery.recover("--verbose", status=REFUSED, env=env)
    assert run.says("cannot read the backups at")
    assert canary not in run.out + run.err
    assert_nowhere(folder, [canary])


@pytest.mark.slow
@needs_npm
def test_s3_at_length(s3):
    run_suite(s3.location(), "--emulator", "--objects", 2500, "--big", 1 << 30, timeout=300)


# --- Google Cloud Storage ---


def test_gcs(gcs, authority):
    location = gcs.location("some/where", page_size=7, ca_file=str(authority.cert))
    run_suite(location, "--big", 20 * MEBIBYTE)
    assert gcs.claims == 1


def test_gcs_says_what_is_wrong(recovery, folder, gcs, authority):
    key = json.loads(gcs.key_json())
    (folder / "key.json").write_text(json.dumps(key))
    env = {"GOOGLE_APPLICATION_CREDENTIALS": folder / "key.json"}
    query = f"?endpoint={gcs.endpoint}&ca_file={authority.cert}"
    assert "bucket" in verify(recovery, f"gs://nowhere/{query}", NOT_GOOD, env)["error"]
    error = verify(recovery, f"gs://backups/{query}", NOT_GOOD)
    assert "Invalid Credentials" in error["error"] and "login" in error["hint"]
    (folder / "key.json").write_text(json.dumps({**key, "client_email": "other@x"}))
    error = verify(recovery, f"gs://backups/{query}", NOT_GOOD, env)
    assert "invalid_grant" in error["error"] and "PRIVATE" not in str(error)
    (folder / "key.json").write_text(json.dumps({**key, "private_key": "no key"}))
    error = verify(recovery, f"gs://backups/{query}", NOT_GOOD, env)
    assert "private_key" in error["error"] and "no key" not in str(error)
    (folder / "key.json").write_text(json.dumps(key))
    error = verify(recovery, f"gs://backups/?endpoint={gcs.endpoint}", NOT_GOOD, env)
    assert "certificate" in error["error"] and "ca_file" in error["hint"]


def test_recovery_from_gcs(cluster, recovery, gcs, authority):
    made = cluster.add(
        "orders", primaries=2,
        backup_location=json.dumps(gcs.location("some/where", ca_cert=authority.cert.read_text())),
    )
    for path in made.files:
        gcs.objects[f"some/where/{path.name}"] = (path.read_bytes(), path.name)
        path.unlink()
    recovery.add_hosts(2).write().recover()
    recovery.assert_recovered(made)


def test_login_in_the_environment_stays_there(cluster, recovery, folder, gcs, authority):
    """It is sent to the hosts with each fetch, but neither files nor output have it."""
    made = cluster.add("orders", primaries=2, replicas=1)
    for path in made.files:
        gcs.objects[f"some/{path.name}"] = (path.read_bytes(), path.name)
        path.unlink()
    key_file = folder / "key.json"
    key_file.write_text(gcs.key_json())
    recovery.sources = {
        "db:1": f"gs://backups/some?endpoint={gcs.endpoint}&ca_file={authority.cert}"
    }
    recovery.add_hosts(2).write()
    env = {"GOOGLE_APPLICATION_CREDENTIALS": key_file, "HOME": folder}
    run = recovery.recover("--verbose", "--json", env=env)
    recovery.assert_recovered(made)
    secrets = gcs.key_file.read_text().splitlines()[2:6]
    assert not [s for s in secrets if s in run.out + run.err]
    assert_nowhere(folder, secrets, but=[key_file, gcs.key_file])


@needs_npm
def test_gcs_with_hmac_keys(s3):
    """Google's XML API is S3's: any server of that can play it."""
    location = {
        "type": "gs", "bucket_name": "backups", "subdir": "x", "access_key_id": s3rver.KEY_ID,
        "secret_access_key": s3rver.SECRET, "endpoint": s3.endpoint, "page_size": 7,
    }
    run_suite(location, "--emulator")


def test_an_upload_that_the_store_ends_early_is_an_error(gcs, authority):
    """Nothing of what comes after it is lost without a word."""
    gcs.ends_early = True
    location = gcs.location(ca_file=str(authority.cert))
    done = suite(location, "--objects", 1, "--big", 9 * MEBIBYTE)
    assert done.returncode == 1 and "FAILED a_big_object_comes_back: store_write" in done.stdout, done.stdout
    assert "ended the upload of 'big.rdb' before all of it was sent" in done.stdout


@pytest.mark.slow
@needs_npm
def test_gcs_as_firebase_has_it(folder, net):
    with Firebase(folder / "firebase", net.addr(26), 9199) as server:
        run_suite(server.location("some/where", page_size=7), "--emulator", "--small")


@pytest.mark.slow
def test_gcs_at_length(gcs, authority):
    location = gcs.location(ca_file=str(authority.cert))
    run_suite(location, "--objects", 2500, "--big", 1 << 30, timeout=300)


# --- Azure ---


@needs_npm
def test_azure(azure):
    run_suite(azure.location(subdir="some/where", page_size=7), "--emulator", "--big", 20 * MEBIBYTE)
    token = azure.location(subdir="x", account_key="", sas_token=azure.sas_token(), insecure=True)
    run_suite(token, "--emulator")


@pytest.mark.slow
@needs_npm
def test_azure_at_length(azure):
    run_suite(azure.location(), "--emulator", "--objects", 2500, "--big", 1 << 30, timeout=300)


@needs_npm
def test_azure_says_what_is_wrong(recovery, azure):
    env = {"AZURE_STORAGE_KEY": azurite.KEY}
    place = f"azure://{azurite.ACCOUNT}"
    query = f"?endpoint={azure.endpoint}&insecure=true"
    error = verify(recovery, f"{place}/nowhere/{query}", NOT_GOOD, env)
    assert "no such container" in error["error"]
    wrong = azurite.KEY[::-1].lstrip("=") + "=="
    error = verify(recovery, f"{place}/backups/{query}", NOT_GOOD, {"AZURE_STORAGE_KEY": wrong})
    assert "refused" in error["error"] and "account_key" in error["hint"] and wrong not in str(error)
    token = {"AZURE_STORAGE_SAS_TOKEN": azure.sas_token("w")}
    error = verify(recovery, f"{place}/backups/{query}", NOT_GOOD, token)
    assert "lacks the right" in error["error"] and "sig=" not in str(error)


@needs_npm
def test_recovery_from_azure(cluster, recovery, azure):
    made = cluster.add(
        "orders", primaries=2, backup_location=json.dumps(azure.location(subdir="some/where"))
    )
    for path in made.files:
        azure.put("backups", f"some/where/{path.name}", path.read_bytes())
        path.unlink()
    recovery.add_hosts(2).write().recover()
    recovery.assert_recovered(made)


# --- OpenStack Swift ---


@needs_swift
def test_swift_and_its_s3_layer(openstack, net):
    run_suite(openstack.location(prefix="some/where", page_size=7, insecure=True), "--big", 70 * MEBIBYTE)
    run_suite(openstack.s3_location(subdir="s3", page_size=7), "--big", 20 * MEBIBYTE)
    port = network.free_port("127.0.0.1")
    with CuttingProxy("127.0.0.1", port, (openstack.addr, 8080), 1 << 40):
        # localhost and all below it is the loopback address to libcurl.
        run_suite(openstack.s3_location(style="host", s3_url=f"http://s3.localhost:{port}"))
    with swift.Keystone(openstack, net.addr(25), 5000) as keystone:
        location = keystone.location(prefix="by password", insecure=True)
        run_suite(location)
        for key in ("user", "key", "project"):
            del location[key]
        run_suite({
            **location, "application_credential_id": keystone.APPLICATION,
            "application_credential_secret": keystone.SECRET,
        })
        assert keystone.logins == 2


@pytest.mark.slow
@needs_swift
def test_swift_at_length(openstack):
    # Its one small server takes some 20 ms for each of these.
    run_suite(openstack.location(page_size=1000, insecure=True), "--objects", 2500, "--big", 1 << 30, timeout=500)


@needs_swift
def test_swift_says_what_is_wrong(recovery, openstack, net):
    env = {"ST_AUTH": openstack.auth_url, "ST_USER": swift.USER, "ST_KEY": swift.KEY}
    error = verify(recovery, "swift://nowhere/?insecure=true", NOT_GOOD, env)
    assert "is not there" in error["error"] and "container" in error["hint"]
    error = verify(recovery, "swift://backups/?insecure=true", NOT_GOOD, {**env, "ST_KEY": "wr0ng"})
    assert "refuses the login" in error["error"] and "wr0ng" not in str(error)
    error = verify(recovery, "swift://backups/?insecure=true", NOT_GOOD)
    assert "auth_url" in error["error"] and "OS_AUTH_URL" in error["hint"]
    with swift.Keystone(openstack, net.addr(25), 5000) as keystone:
        env = {"OS_AUTH_URL": keystone.auth_url, "OS_USERNAME": keystone.USER, "OS_PASSWORD": "wr0ng",
               "OS_PROJECT_NAME": keystone.PROJECT, "OS_USER_DOMAIN_NAME": keystone.DOMAIN,
               "OS_PROJECT_DOMAIN_NAME": keystone.DOMAIN, "OS_REGION_NAME": "r1"}
        error = verify(recovery, "swift://backups/?insecure=true", NOT_GOOD, env)
        assert "refuses the login" in error["error"] and "wr0ng" not in str(error)
        error = verify(recovery, "swift://backups/?insecure=true", NOT_GOOD, {**env, "OS_PASSWORD": keystone.PASSWORD})
        assert "there is no .rdb" in error["error"]


@needs_swift
def test_recovery_from_swift(cluster, recovery, openstack):
    made = cluster.add(
        "orders", primaries=2, backup_location=json.dumps(openstack.location(prefix="some/where"))
    )
    for path in made.files:
        openstack.put(f"backups/some/where/{path.name}", path.read_bytes())
        path.unlink()
    recovery.add_hosts(2).write()
    run = recovery.recover(status=REFUSED)
    assert run.says("clear text") and run.says("trusted_endpoints"), run
    recovery.trusted = [{"url": openstack.url, "insecure": True}]
    recovery.write_hosts()
    run = recovery.recover()
    assert f"a login goes to {openstack.url}" in run.err and "in clear text" in run.err
    recovery.assert_recovered(made)


# --- radosgw ---


@pytest.mark.slow
@needs_ceph
def test_radosgw(radosgw):
    run_suite(radosgw.location("some/where"), "--objects", 2500, "--big", 1 << 30, timeout=400)
    run_suite(radosgw.location(page_size=7), "--big", 20 * MEBIBYTE)
    run_suite(radosgw.swift_location("by swift", page_size=7, insecure=True), "--big", 70 * MEBIBYTE)


@pytest.mark.slow
@needs_ceph
def test_recovery_from_radosgw(cluster, recovery, radosgw):
    env = {"AWS_ACCESS_KEY_ID": ceph.KEY_ID, "AWS_SECRET_ACCESS_KEY": ceph.SECRET,
           "AWS_ENDPOINT_URL": radosgw.url}
    assert "NoSuchBucket" in verify(recovery, "s3://nowhere/", NOT_GOOD, env)["error"]
    error = verify(recovery, "s3://backups/", NOT_GOOD, {**env, "AWS_SECRET_ACCESS_KEY": "wr0ng"})
    assert "SignatureDoesNotMatch" in error["error"] and "wr0ng" not in str(error)

    public = cluster.add("public")
    radosgw.put_public("for-all", public.files[0].name, public.files[0].read_bytes())
    verify(recovery, "s3://for-all?anonymous=true", DONE, env)
    assert "AccessDenied" in verify(recovery, "s3://backups?anonymous=true", NOT_GOOD, env)["error"]

    recovery.sources = {"db:1": f"s3://for-all?anonymous=true&endpoint={radosgw.url}"}
    public.files[0].unlink()
    made = cluster.add("orders", primaries=2, backup_location=json.dumps(radosgw.location("some/where")))
    other = cluster.add("sessions", backup_location=json.dumps(radosgw.swift_location("some/where")))
    for path in made.files + other.files:
        radosgw.put(f"some/where/{path.name}", path.read_bytes())
        path.unlink()
    recovery.trusted = [{"url": radosgw.url, "insecure": True}]
    recovery.add_hosts(2).write().recover()
    for one in (public, made, other):
        recovery.assert_recovered(one)
