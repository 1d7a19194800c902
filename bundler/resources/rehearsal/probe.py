"""Ask a server what the kubelet asks: probe.py PORT [PATH [tls]]; exit status 0 where it answers as a probe wants."""

import http.client
import socket
import ssl
import sys

port = int(sys.argv[1])
if len(sys.argv) == 2:
    socket.create_connection(("127.0.0.1", port), 5).close()
    sys.exit(0)
# As the kubelet: no check of the certificate, and every status from 200 to 399 is well.
context = ssl._create_unverified_context() if len(sys.argv) > 3 else None  # noqa: S323
connection = (
    http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    if context
    else http.client.HTTPConnection("127.0.0.1", port, timeout=5)
)
connection.request("GET", sys.argv[2])
status = connection.getresponse().status
print("status", status)
sys.exit(0 if 200 <= status < 400 else 1)
