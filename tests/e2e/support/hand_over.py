"""Binds addresses, listens, and becomes a program that is handed the sockets, as systemd does it:
hand_over.py HOST:PORT... -- COMMAND..."""
import os
import socket
import sys

FIRST = 3

end = sys.argv.index("--")
handed = []
for text in sys.argv[1:end]:
    host, port = text.rsplit(":", 1)
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((host, int(port)))
    one.listen(128)
    handed.append(one)
# first out of the way of the numbers that they are to have
away = [os.dup(one.fileno()) for one in handed]
away = [os.dup2(fd, FIRST + len(away) * 3 + i) for i, fd in enumerate(away)]
for i, fd in enumerate(away):
    os.dup2(fd, FIRST + i, inheritable=True)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(handed))
os.execvp(sys.argv[end + 1], sys.argv[end + 1:])
