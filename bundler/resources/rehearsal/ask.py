"""Send JSON to a service by its name, as a client in the cluster does: ask.py URL JSON [AUTHORITY.pem]."""

import json
import ssl
import sys
import urllib.error
import urllib.request

url, body = sys.argv[1], sys.argv[2].encode()
context = ssl.create_default_context(cafile=sys.argv[3]) if len(sys.argv) > 3 else None
request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
try:
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        status, text = answer.status, answer.read().decode()
except urllib.error.HTTPError as error:
    status, text = error.code, error.read().decode(errors="replace")
print(json.dumps({"status": status, "body": text}))
