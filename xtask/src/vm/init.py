"""The first process of the virtual machine: records a known program with viperf and says what came of it.

Each result is one line on the console, `VIPERF ` and a JSON object; then the machine is switched off.
"""

import ctypes
import json
import os
import subprocess
import sys
import traceback

LIBC = ctypes.CDLL(None, use_errno=True)
POWER_OFF = 0x4321FEDC  # LINUX_REBOOT_CMD_POWER_OFF
PROGRAM = [sys.executable, "-S", "/into_kernel.py"]


def say(what, **facts):
    print("VIPERF " + json.dumps(dict(facts, what=what)), flush=True)


def mount(kind, folder):
    os.makedirs(folder, exist_ok=True)
    if LIBC.mount(kind.encode(), folder.encode(), kind.encode(), 0, None):
        print("mounting", kind, os.strerror(ctypes.get_errno()), flush=True)


def run(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, errors="replace")
    return {"code": done.returncode, "output": done.stdout, "errors": done.stderr[-4000:]}


def record(*target):
    told = run("/bin/viperf", "record", "-F", "199", "-o", "/tmp/out.folded", "--stats", "/tmp/out.json", *target)
    if told["code"] == 0:
        with open("/tmp/out.folded", encoding="utf-8") as folded, open("/tmp/out.json", encoding="utf-8") as figures:
            told.update(folded=folded.read(), figures=json.load(figures))
    return told


def record_process(what, *options):
    with subprocess.Popen(PROGRAM, stdout=subprocess.PIPE, text=True) as program:
        program.stdout.readline()
        told = record("-p", str(program.pid), "-d", "4s", *options)
        program.terminate()
        measured = json.loads(program.stdout.readline())
    say(what, shares=measured["shares"], **told)


def main():
    for kind, folder in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp")]:
        mount(kind, folder)
    say("kernel", release=os.uname().release)
    say("doctor", **run("/bin/viperf", "doctor", "--json"))
    record_process("process")
    record_process("tick", "--clock", "tick")
    say("child", **record("--", *PROGRAM, "--seconds", "2", "--in-child", "1"))
    if os.path.exists("/bin/verifier_figures"):
        say("verifier", **run("/bin/verifier_figures"))


try:
    main()
except BaseException:
    say("broken", errors=traceback.format_exc())
finally:
    # Without this line, the machine has not come here.
    say("end")
    LIBC.tcdrain(1)
    LIBC.reboot(POWER_OFF)
