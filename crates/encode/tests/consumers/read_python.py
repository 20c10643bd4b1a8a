"""Opens viperf's files with Python's own means and prints, as one line of JSON, what they count.

    read_python.py pstats|json|gprof2dot|gprof2dot-folded|gprof2dot-perf|snakeviz|speedscope-schema FILE NEEDLE [SCHEMA]

Ends with code 77 when the package that it needs is not there.
"""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request

MISSING = 77


def needs(package):
    try:
        return __import__(package)
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(MISSING)


def read_pstats(file, needle):
    import pstats

    stats = pstats.Stats(file)
    stats.calc_callees()
    found = [value for key, value in stats.stats.items() if key[2] == needle]
    deepest = max(value[3] for value in stats.stats.values())
    return {
        "total": stats.total_tt,
        "needle": sum(value[3] for value in found),
        "needle_samples": sum(value[1] for value in found),
        "deepest": deepest,
    }


def read_json(file, needle):
    with open(file, encoding="utf-8") as text:
        profile = json.load(text)
    assert (profile["format"], profile["version"]) == ("viperf", 1)
    functions, frames, stacks = profile["functions"], profile["frames"], profile["stacks"]
    samples = profile["samples"]
    has_needle = []
    for parent, frame in zip(stacks["parent"], stacks["frame"], strict=True):
        here = functions[frames[frame]["function"]]["name"] == needle
        has_needle.append(here or (parent is not None and has_needle[parent]))
    return {
        "samples": len(samples["stack"]),
        "total": sum(samples["weight_ns"]),
        "needle_samples": sum(has_needle[stack] for stack in samples["stack"]),
    }


def read_by_gprof2dot(file, needle, form):
    needs("gprof2dot")
    command = [sys.executable, "-m", "gprof2dot", "-f", form, "-n", "0", "-e", "0", file]
    graph = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    labels = [line for line in graph.splitlines() if "label=" in line and needle in line]
    # A node's label has its total, then its own in brackets; an edge has no name.
    totals = [float(total) for line in labels if "->" not in line for total in re.findall(r"\\n([\d.]+)%", line)]
    return {"needle": len(labels), "share": max(totals, default=None), "graph": graph.startswith("digraph")}


def read_by_snakeviz(file, needle):
    needs("snakeviz")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "snakeviz", "-s", "-H", "127.0.0.1", "-p", str(port), file]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        address = f"http://127.0.0.1:{port}/snakeviz/{urllib.request.pathname2url(file).lstrip('/').replace('/', '%2F')}"
        address = address.replace("/snakeviz/", "/snakeviz/%2F")
        for _ in range(100):
            try:
                with urllib.request.urlopen(address, timeout=5) as answer:
                    page = answer.read().decode()
                break
            except OSError:
                time.sleep(0.1)
        return {"needle": page.count(needle)}
    finally:
        server.terminate()
        server.wait()


def read_by_schema(file, schema):
    jsonschema = needs("jsonschema")
    with open(file, encoding="utf-8") as text, open(schema, encoding="utf-8") as rules:
        jsonschema.validate(json.load(text), json.load(rules))
    return {"valid": True}


def main(what, file, needle, schema=None):
    if what == "pstats":
        return read_pstats(file, needle)
    if what == "json":
        return read_json(file, needle)
    if what == "gprof2dot":
        return read_by_gprof2dot(file, needle, "pstats")
    if what == "gprof2dot-folded":
        return read_by_gprof2dot(file, needle, "collapse")
    if what == "gprof2dot-perf":
        return read_by_gprof2dot(file, needle, "perf")
    if what == "snakeviz":
        return read_by_snakeviz(file, needle)
    return read_by_schema(file, schema)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
