# Threads that block in places of every kind, then one line of JSON with their stacks as Python sees them.
import functools, json, os, re, sys, threading, time

never, _ = os.pipe()


def block():
    os.read(never, 1)


class Lazy(object):
    def __init__(self, call):
        self.call = call

    @property
    def value(self):
        def key(x):
            return functools.reduce(lambda a, b: re.sub('x', lambda match: [
                str(a),
                self.call(),
            ], 'x'), [1, 2])
        return sorted([1], key=key)

    def __getattr__(self, name):
        return self.value


class Made(object):
    def __init__(self, call):
        Lazy(call).missing


def generator(call):
    yield 1
    yield Made(call)


def through_everything(call):
    list(generator(call))


class Called(object):
    def __init__(self, call):
        call()


# Often enough for the interpreter to specialise the call.
def through_class(call):
    for one in [lambda: None] * 500 + [call]:
        Called(one)


def through_class_and_c(call):
    through_class(lambda: max([1], key=lambda x: through_class(call)))


def through_depth(call, depth=400):
    if depth:
        through_depth(call, depth - 1)
    else:
        call()


class Finalised(object):
    def __init__(self, call):
        self.call = call

    def __del__(self):
        self.call()


def through_finaliser(call):
    made = Finalised(call)
    del made


def through_import_hook(call):
    exec(compile('\n\n\ncall()', 'caf\xe9-\u20ac.py' if sys.version_info[0] > 2 else 'caf\xc3\xa9.py', 'exec'),
         {'call': call})


starts = [block, through_everything, through_class, through_class_and_c, through_depth, through_finaliser,
          through_import_hook]

if sys.version_info[0] > 2:
    scope = {}
    exec('''
def through_names(call):
    def gr\xf6\xdfe():
        def \u0444\u0430\u0439\u043b():
            def \u86c7():
                class \u03a9:
                    name = (lambda:
                        call())()
            \u86c7()
        \u0444\u0430\u0439\u043b()
    gr\xf6\xdfe()

def through_bad_file_name(call):
    exec(compile('\\n\\n\\ncall()', 'caf\\udcc3\\udca9-\\udcff.py', 'exec'), {'call': call})

def through_coroutine(call):
    async def inner():
        call()
    async def outer():
        await inner()
    outer().send(None)

def through_delegation(call):
    def leaf():
        yield 1
        call()
    def middle():
        yield from leaf()
    list(middle())
''', scope)
    starts += [scope[name] for name in sorted(scope) if name.startswith('through_')]


def show(frame):
    while frame:
        code = frame.f_code
        name = code.co_filename
        if not isinstance(name, bytes):
            name = name.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')
        yield getattr(code, 'co_qualname', code.co_name), name, frame.f_lineno
        frame = frame.f_back


def capture(threads):
    frames = sys._current_frames()
    return [{'ident': thread.ident, 'frames': list(show(frames[thread.ident]))} for thread in threads]


# Until every thread sleeps: in the right line, and nowhere else after a while.
def report(threads):
    line = block.__code__.co_firstlineno + 1
    before, now = None, capture(threads)
    while now != before or any(stack['frames'][0][2] != line for stack in now):
        time.sleep(0.1)
        before, now = now, capture(threads)
    print(json.dumps(now))
    sys.stdout.flush()
    block()


threads = [threading.current_thread()]
for start in starts:
    threads.append(threading.Thread(target=start, args=() if start is block else (block,)))
reporter = threading.Thread(target=report, args=(threads,))
for thread in threads[1:] + [reporter]:
    thread.daemon = True
    thread.start()
through_everything(block)
