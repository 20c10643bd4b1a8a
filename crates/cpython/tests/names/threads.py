"""Prints one line of JSON: the names of threads as `threading` says them, and where the interpreter's state is.

Then waits until its input ends. With the argument `flutter`, threads start and end all the time meanwhile; each is
named `new` or, once it runs, after its own number.
"""

import ctypes
import json
import os
import sys
import threading
import time

try:
    import _thread
except ImportError:
    import thread as _thread

PYTHON_2 = sys.version_info[0] == 2
end = threading.Event()
threading.stack_size(128 * 1024)


def text(name):
    return name.encode("utf-8") if PYTHON_2 else name


class Derived(threading.Thread):
    """With more attributes than the shared keys of a class have room for."""

    def __init__(self, count, name):
        threading.Thread.__init__(self, name=name)
        self.daemon = True
        for number in range(count):
            setattr(self, "attribute_%d" % number, number)

    def run(self):
        end.wait()


class Slotted(threading.Thread):
    __slots__ = ("slot",)


def start(thread):
    thread.daemon = True
    thread.start()
    return thread


def named(name):
    return start(threading.Thread(target=end.wait, name=name))


def start_all():
    for name in (
        u"plain",
        u"",
        u"Gr\xfc\xdfe \xff",
        u"\u65e5\u672c\u8a9e\u30b9\u30ec\u30c3\u30c9",
        u"\U0001f40d\U0001f9f5 snake",
        u"semi;colon \"quoted\"\nnew line\t\\",
        u"x" * 300,
        u"\u65e5" * 300,
        u"\U0001f40d" * 300,
        u"\xe9" * 1000,
    ):
        named(text(name))
    named(None)
    start(threading.Thread(target=end.wait))
    start(Slotted(target=end.wait, name="slotted"))
    for count in (1, 10, 40, 400):
        start(Derived(count, "derived %d" % count))
    named("materialised").__dict__
    thread = named("materialised and more")
    thread.__dict__["more"] = 1
    thread = named("replaced")
    thread.__dict__ = dict(thread.__dict__)
    thread = named("before")
    thread.name = text(u"after \u2192")
    thread = named("with deleted attribute")
    thread.more = 1
    del thread.more
    for number in range(1100):
        named("worker %d" % number)
    for _ in range(20):
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
    known = threading.Event()

    def foreign():
        threading.current_thread()
        known.set()
        end.wait()

    _thread.start_new_thread(foreign, ())
    known.wait()


def live_shortly():
    thread = threading.current_thread()
    thread.name = "%d" % thread.ident
    time.sleep(0.002)


def flutter():
    while not end.is_set():
        thread = threading.Thread(target=live_shortly, name="new")
        try:
            thread.start()
        except RuntimeError:  # too many
            continue


api = ctypes.pythonapi
api.PyInterpreterState_Head.restype = ctypes.c_void_p
runtime = 0
if sys.version_info >= (3, 13):
    runtime = ctypes.addressof(ctypes.c_char.in_dll(api, "_PyRuntime"))

if sys.argv[-1] == "flutter":
    for _ in range(2):
        start(threading.Thread(target=flutter, name="flutter"))
else:
    start_all()

print(json.dumps({
    "hex": sys.hexversion,
    "pid": os.getpid(),
    "free_threaded": "t" in getattr(sys, "abiflags", ""),
    "interpreter": api.PyInterpreterState_Head(),
    "runtime": runtime,
    "threads": sorted([thread.ident, thread.name] for thread in threading.enumerate() if thread.ident),
}))
sys.stdout.flush()
sys.stdin.readline()
os._exit(0)
