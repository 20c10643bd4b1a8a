"""Run by gdb: writes down how a program stands at its breakpoints, and some instructions behind each.

Of each stop there are registers, memory and gdb's own frames. A page of memory is kept once, whatever stops have it. Of what
is mapped from files only what can be written is kept; the rest is in the files.
"""

import json
import os

import gdb

FOLDER = os.environ["VIPERF_RECORDING"]
BREAKPOINT = os.environ["VIPERF_BREAKPOINT"]
STEPS = int(os.environ["VIPERF_STEPS"])
PAGE = 4096

# Their order is that of struct pt_regs. The walks do not look at cs, flags and ss.
REGISTERS = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip - - rsp -".split()

pages = {}
memory = open(os.path.join(FOLDER, "memory"), "wb")
stops = open(os.path.join(FOLDER, "stops"), "w")


def read_register(name):
    return 0 if name == "-" else int(gdb.parse_and_eval("$" + name)) % 2**64


def keep(page):
    if page not in pages:
        pages[page] = len(pages)
        memory.write(page)
    return pages[page]


def read_mappings(process):
    with open(f"/proc/{process.pid}/maps") as file:
        return file.read()


def keep_memory(process, mappings, stack_pointer):
    kept = []
    for line in mappings.splitlines():
        place, permissions, _, _, inode, *path = line.split(maxsplit=5)
        in_file = int(inode) != 0 and "w" not in permissions
        if permissions[0] != "r" or in_file or path in (["[vvar]"], ["[vsyscall]"]):
            continue
        start, end = (int(number, 16) for number in place.split("-"))
        if start <= stack_pointer < end:
            # What a stack has below is nobody's.
            start = max(start, (stack_pointer - PAGE) // PAGE * PAGE)
        try:
            copy = process.read_memory(start, end - start)
        except gdb.MemoryError:
            continue
        for offset in range(0, end - start, PAGE):
            kept.append((start + offset, keep(bytes(copy[offset : offset + PAGE]))))
    return kept


def list_frames():
    """Those that have a part of the stack: not what a compiler has put into another function."""
    kinds = {gdb.SIGTRAMP_FRAME: "signal"}
    frames, frame = [], gdb.newest_frame()
    while frame is not None:
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
            sp = int(frame.read_register("rsp")) % 2**64
            frames.append((kinds.get(frame.type(), ""), frame.pc(), sp, frame.name() or ""))
        frame = frame.older()
    return frames


def record(step):
    process = gdb.selected_inferior()
    registers = [read_register(name) for name in REGISTERS]
    mappings = read_mappings(process)
    stop = {
        "step": step,
        "registers": registers,
        "fsbase": read_register("fs_base"),
        "frames": list_frames(),
        "mappings": mappings,
        "pages": keep_memory(process, mappings, registers[REGISTERS.index("rsp")]),
    }
    stops.write(json.dumps(stop) + "\n")
    # It is waited for as long as it writes.
    stops.flush()


for setting in (
    "pagination off",
    "confirm off",
    "breakpoint pending on",
    "backtrace past-main on",
    "backtrace past-entry on",
    "debuginfod enabled off",
    "print thread-events off",
):
    gdb.execute("set " + setting)
gdb.execute("handle SIGUSR1 SIGILL nostop noprint pass", to_string=True)
gdb.execute("break " + BREAKPOINT)
gdb.execute("run", to_string=True)
while gdb.selected_inferior().pid:
    record(0)
    for step in range(1, STEPS + 1):
        gdb.execute("stepi", to_string=True)
        if not gdb.selected_inferior().pid:
            break
        record(step)
    else:
        gdb.execute("continue", to_string=True)
stops.close()
memory.close()
