"""Takes traces (OTLP over HTTP) and keeps what came, undecoded.

usage: otlp_stub.py ADDRESS PORT DIRECTORY
Each body becomes DIRECTORY/<address of the sender>-<number>.
"""

import itertools
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def handler(directory):
    numbers = itertools.count()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            name = os.path.join(directory, f"{self.client_address[0]}-{next(numbers)}")
            with open(name + ".new", "wb") as file:
                file.write(body)
            os.rename(name + ".new", name)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    return Handler


def main():
    address, port, directory = sys.argv[1:]
    ThreadingHTTPServer((address, int(port)), handler(directory)).serve_forever()


if __name__ == "__main__":
    main()
