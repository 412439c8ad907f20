"""Checks the include lines: a folder of src/ uses only those below it. And that JSON is read in one place.

    layering.py [ROOT]      prints what is wrong; exit status 1 if anything is

Which folder a public header (include/recluster/x.h) belongs to is told by the sources: it is the folder
that HOMES names. A header without a home is an error, so that the table stays whole.
"""

import re
import sys
from pathlib import Path

ORDER = [
    "base", "loop", "state", "rdb", "ssh", "store", "sets", "repl", "live", "link", "ccs", "plan", "survey", "agent",
    "recover", "capture", "backup", "report", "cli",
]

HOMES = {
    "base": "announced base64 buf clock digest err file human json mem memory_limit out_file secret shell_quote sign",
    "loop": "child knock loop tcp",
    "state": "state",
    "rdb": "aof commands crc64 key_text rdb rdb_scan rdb_split rdb_write slots",
    "ssh": "known_hosts ssh",
    "store": "store transfer",
    "sets": "backup_name catalogue disk_files pack pull sealed",
    "repl": "repl",
    "live": "everywhere live offsets",
    "link": "hosts link link_location program protocol relay rpc",
    "ccs": "ccs",
    "plan": "plan",
    "survey": "fence host_link old_cluster survey",
    "agent": "agent",
    "recover": "recover",
    "capture": "capture",
    "backup": "archive backup expiry",
    "report": "report",
    "cli": "",
}

# The operator's side and the host's side know of each other only what link's headers say.
STRANGERS = {("survey", "agent"), ("agent", "survey"), ("recover", "agent"), ("agent", "recover")}

# JSON that others may have written is read by json_read(), which bounds it. These read what only we or the
# operator wrote (a plan or hosts.json may be larger), besides json_read() itself.
OWN_JSON = {"json.c", "query.c", "request.c", "hosts.c", "verify.c"}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def problems(root):
    home_of = {name: folder for folder, names in HOMES.items() for name in names.split()}
    headers = sorted((root / "include" / "recluster").glob("*.h"))
    for header in headers:
        if header.stem not in home_of:
            yield f"{header.relative_to(root)}: no folder is named for it in tests/unit/layering.py"
    for folder in sorted(p.name for p in (root / "src").iterdir() if p.is_dir()):
        if folder not in ORDER:
            yield f"src/{folder}: not in the order of folders in tests/unit/layering.py"

    sources = [(home_of.get(h.stem), h) for h in headers]
    for folder in ORDER:
        sources += [(folder, p) for p in sorted((root / "src" / folder).rglob("*.[ch]"))]
    for folder, path in sources:
        if folder is None:
            continue
        if re.search(r"\bjson_load\w*\(", path.read_text()) and path.name not in OWN_JSON:
            yield f"{path.relative_to(root)}: reads JSON without json_read()"
        for name in INCLUDE.findall(path.read_text()):
            complaint = _complaint(root, folder, path, name, home_of)
            if complaint:
                yield f"{path.relative_to(root)}: includes \"{name}\": {complaint}"


def _complaint(root, folder, path, name, home_of):
    if name.startswith("recluster/"):
        used = home_of.get(Path(name).stem)
        if used is None:
            return "no such public header"
        if (folder, used) in STRANGERS:
            return f"{folder} and {used} share only link's headers"
        if ORDER.index(used) > ORDER.index(folder):
            return f"{used} is above {folder}"
        return None
    # A private header: from its own folder of src/.
    candidates = [path.parent / name, root / "src" / name]
    found = next((c.resolve() for c in candidates if c.is_file()), None)
    if found is None:
        return None  # made by the build
    if root / "src" / folder not in found.parents:
        return "a private header of another folder"
    return None


def main(argv):
    root = Path(argv[1] if len(argv) > 1 else Path(__file__).parents[2]).resolve()
    found = list(problems(root))
    for text in found:
        print(text)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
