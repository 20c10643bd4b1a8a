"""Reads a .viperf file by its documents alone and prints it as folded lines, or the source range of each frame.

    read_viperf.py FILE.viperf FOLDER_WITH_viperf.proto folded|ranges

Shares no code with viperf: the messages are compiled by protoc, the checksums are zlib's, the frames zstandard's.
Needs grpcio-tools and zstandard from PyPI; ends with code 77 when they are not there.
"""

import collections
import pathlib
import struct
import sys
import tempfile
import zlib

try:
    import zstandard
    from grpc_tools import protoc
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

SUFFIXES = {1: "_[p]", 2: "_[pn]", 3: "_[k]", 4: "_[e]"}


def compile_messages(folder):
    with tempfile.TemporaryDirectory() as output:
        code = protoc.main(["protoc", f"-I{folder}", f"--python_out={output}", "viperf.proto"])
        assert code == 0, "protoc takes viperf.proto"
        sys.path.insert(0, output)
        import viperf_pb2

        return viperf_pb2


def read_blocks(data):
    assert data[:8] == bytes.fromhex("93 76 69 70 65 72 66 0a")
    assert struct.unpack("<I", data[8:12]) == (1,)
    offset = 12
    while offset < len(data):
        block_type, length, checksum = struct.unpack("<III", data[offset : offset + 12])
        payload = data[offset + 12 : offset + 12 + length]
        assert zlib.crc32(data[offset : offset + 8] + payload) == checksum
        yield block_type, zstandard.ZstdDecompressor().decompressobj().decompress(payload)
        offset += 12 + length


def frame_text(tables, function, line):
    strings = tables["strings"]
    name = strings[function.name]
    if function.kind == 1:
        name = f"{name} ({strings[function.file_plus_one - 1]}:{line})"
    elif function.kind == 2 and function.library_plus_one and not name.startswith("["):
        library = tables["libraries"][function.library_plus_one - 1]
        name = f"{name} ({strings[library.name]})"
    elif function.kind == 4:
        name = f"[{name}]"
    return name + SUFFIXES[function.kind]


def column(numbers, rows):
    return numbers or [0] * rows


def frame_rows(frames):
    rows = len(frames.function)
    ends = column(frames.end_line, rows), column(frames.end_column, rows)
    return zip(frames.function, frames.line, column(frames.column, rows), *ends, strict=True)


def print_ranges(tables):
    for function, line, start, end_line, end in tables["frames"]:
        name = tables["strings"][tables["functions"][function].name]
        print(f"{name} {line}:{start}-{end_line}:{end}")


def main(file, folder, what):
    messages = compile_messages(folder)
    tables = collections.defaultdict(list)
    end = None
    for block_type, payload in read_blocks(pathlib.Path(file).read_bytes()):
        if block_type == 3:
            end = messages.End.FromString(payload)
        if block_type != 2:
            continue
        rows = messages.Rows.FromString(payload)
        for name in ("strings", "libraries", "functions", "processes", "threads"):
            tables[name] += getattr(rows, name)
        tables["frames"] += frame_rows(rows.frames)
        tables["stacks"] += zip(rows.stacks.parent_plus_one, rows.stacks.frame)
        tables["samples"] += zip(rows.samples.thread, rows.samples.stack)
    assert end.samples == len(tables["samples"])
    if what == "ranges":
        print_ranges(tables)
    else:
        print_folded(tables)


def print_folded(tables):
    lines = collections.Counter()
    for thread, stack in tables["samples"]:
        frames = []
        above = stack + 1
        while above:
            above, frame = tables["stacks"][above - 1]
            function, line, *_ = tables["frames"][frame]
            if tables["functions"][function].kind != 5:
                frames.append(frame_text(tables, tables["functions"][function], line))
        process = tables["processes"][tables["threads"][thread].process]
        root = f"{tables['strings'][process.name]} ({process.pid})"
        lines[";".join([root, *reversed(frames)])] += 1
    for text in sorted(lines, key=str.encode):
        print(f"{text} {lines[text]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
