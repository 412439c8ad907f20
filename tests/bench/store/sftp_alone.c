/* What libssh2 by itself reads by SFTP: sftp_alone HOST PORT USER KEY PATH. Nothing is kept. */

#include <arpa/inet.h>
#include <libssh2.h>
#include <libssh2_sftp.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 20 };

static int fail(const char *what)
{
    fprintf(stderr, "sftp_alone: %s\n", what);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return fail("usage: sftp_alone HOST PORT USER KEY PATH");
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[2]))};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

    inet_pton(AF_INET, argv[1], &addr.sin_addr);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || libssh2_init(0) != 0)
        return fail("cannot connect");
    LIBSSH2_SESSION *session = libssh2_session_init();
    libssh2_session_method_pref(
        session, LIBSSH2_METHOD_CRYPT_SC, "aes128-gcm@openssh.com,aes128-ctr");
    libssh2_session_method_pref(
        session, LIBSSH2_METHOD_CRYPT_CS, "aes128-gcm@openssh.com,aes128-ctr");
    if (libssh2_session_handshake(session, fd) != 0 ||
        libssh2_userauth_publickey_fromfile(session, argv[3], NULL, argv[4], "") != 0)
        return fail("cannot log in");
    LIBSSH2_SFTP *sftp = libssh2_sftp_init(session);
    LIBSSH2_SFTP_HANDLE *file = sftp ? libssh2_sftp_open(sftp, argv[5], LIBSSH2_FXF_READ, 0) : NULL;
    if (!file)
        return fail("cannot open the file");
    char *buffer = malloc(BUFFER_BYTES);
    ssize_t n;
    while ((n = libssh2_sftp_read(file, buffer, BUFFER_BYTES)) > 0)
        ;
    return n < 0 ? fail("cannot read") : 0;
}
