"""The metrics API (metrics.k8s.io/v1beta1) for pods, with figures from a file.

usage: metrics_stub.py ADDRESS PORT KEY STATE
KEY: private key in PEM; its certificate is beside it, ending in .crt. STATE: JSON list of
{"name", "namespace", "labels", "cpu"}, read again for every request.
"""

import json
import ssl
import sys
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

GROUP_VERSION = "metrics.k8s.io/v1beta1"
RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": GROUP_VERSION,
    "resources": [
        {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
    ],
}


def selected(labels, selector):
    """Whether the labels fulfil `a=b,c=d`, the only form in use."""
    wanted = [part.replace("==", "=").split("=", 1) for part in selector.split(",") if part]
    return all((labels or {}).get(key.strip()) == value.strip() for key, value in wanted)


def pod_metrics(state, namespace, selector):
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    with open(state, encoding="utf-8") as file:
        pods = json.load(file)
    items = [
        {
            "metadata": {"name": pod["name"], "namespace": namespace, "labels": pod["labels"]},
            "timestamp": now,
            "window": "1s",
            "containers": [{"name": "sidecar", "usage": {"cpu": pod["cpu"], "memory": "64Mi"}}],
        }
        for pod in pods
        if pod["namespace"] == namespace and selected(pod["labels"], selector)
    ]
    return {"kind": "PodMetricsList", "apiVersion": GROUP_VERSION, "metadata": {}, "items": items}


def handler(state):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            url = urlsplit(self.path)
            parts = url.path.strip("/").split("/")
            selector = parse_qs(url.query).get("labelSelector", [""])[0]
            if parts == ["apis", *GROUP_VERSION.split("/")]:
                self.answer(200, RESOURCES)
            elif parts[:3] == ["apis", *GROUP_VERSION.split("/")] and len(parts) == 6 and parts[3] == "namespaces":
                self.answer(200, pod_metrics(state, parts[4], selector))
            else:
                self.answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})

        def answer(self, code, body):
            body = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def main():
    address, port, key, state = sys.argv[1:]
    server = ThreadingHTTPServer((address, int(port)), handler(state))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key.rsplit(".", 1)[0] + ".crt", key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
