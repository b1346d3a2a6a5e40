# Says something that makes no sense on the line of the admin process with this pid, in its place: takes a copy of each of
# its connected sockets (pidfd_getfd, which root may), and writes to the one whose other end is the supervisor; or, with the
# word "cut", cuts that one.
import ctypes, os, socket, struct, sys

admin, supervisor = int(sys.argv[1]), int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
pidfd = libc.syscall(434, admin, 0)
for number in sorted(int(entry) for entry in os.listdir(f"/proc/{admin}/fd")):
    if not os.readlink(f"/proc/{admin}/fd/{number}").startswith("socket:"):
        continue
    copy = libc.syscall(438, pidfd, number, 0)
    if copy < 0:
        sys.exit(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    one = socket.socket(fileno=copy)
    if one.family != socket.AF_UNIX or one.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) != socket.SOCK_STREAM:
        continue
    if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        continue
    peer = struct.unpack("3i", one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    if peer == supervisor and sys.argv[3:] == ["cut"]:
        one.shutdown(socket.SHUT_RDWR)
        sys.exit(0)
    if peer == supervisor:
        one.setblocking(False)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += one.send(b"GET / HTTP/1.1\r\n" * 4096)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
        print(f"said {sent} bytes of nonsense")
        sys.exit(0)
sys.exit("it has no line to the supervisor")
