"""Prints one line of JSON: methods of classes, where they are, and what the interpreter itself calls them.

For 2.7 and 3.6 to 3.10. Then waits until its input ends.
Each method is [address of a class, address of a code object, co_name, the names that are right].
No right name: none must be found. Code objects and classes stay alive: those of the examples in variables here.
"""

import abc
import contextlib
import functools
import importlib
import json
import os
import sys
import types

PYTHON_2 = sys.version_info[0] == 2
OLD_STYLE = type(type("", (), {})) if not PYTHON_2 else types.ClassType
examples = []
kept = []
example_classes = []


def functions_of(value):
    """The functions that a value in a class's dict is made of."""
    if isinstance(value, types.FunctionType):
        return [value]
    if isinstance(value, (classmethod, staticmethod)):
        value = value.__func__
        return [value] if isinstance(value, types.FunctionType) else []
    if isinstance(value, property):
        parts = (value.fget, value.fset, value.fdel)
        return [part for part in parts if isinstance(part, types.FunctionType)]
    return []


def decorated(function):
    """The function and those inside its closure."""
    found, left = [], [function]
    while left:
        function = left.pop()
        if any(function is other for other in found):
            continue
        found.append(function)
        for cell in function.__closure__ or ():
            try:
                left.extend(functions_of(cell.cell_contents))
            except ValueError:  # empty
                pass
    return found


def bases_of(cls):
    if PYTHON_2 and isinstance(cls, types.ClassType):
        found = [cls]
        for base in cls.__bases__:
            found.extend(bases_of(base))
        return found
    metaclass = type(cls)
    return list(type.mro(cls) if cls is type else cls.__mro__) + list(metaclass.__mro__)


def right_names(cls, code):
    """What a function with this code object, anywhere in the class, its bases and its metaclass, calls itself."""
    names = set()
    for base in bases_of(cls):
        for value in list(vars(base).values()):
            for outer in functions_of(value):
                for function in decorated(outer):
                    if function.__code__ is not code:
                        continue
                    if PYTHON_2:
                        names.add(base.__name__ + "." + code.co_name)
                    elif function.__qualname__.split(".")[-1] == code.co_name:
                        names.add(function.__qualname__)
    return sorted(names)


def example(cls, function, name):
    """`name` is what it must be called, written down by hand; in 2.7 without what is around the class."""
    if PYTHON_2 and name is not None:
        name = ".".join(name.split(".")[-2:])
    example_classes.append((cls, function))
    code = function.__code__
    names = [] if name is None else [name]
    examples.append([id(cls), id(code), code.co_name, names])


class Plain(object):
    def run(self):
        pass

    def overridden(self):
        pass

    @classmethod
    def of_class(cls):
        pass

    @staticmethod
    def static(self):
        pass

    def __hidden(self):
        pass

    @property
    def size(self):
        pass

    @size.setter
    def size(self, value):
        pass

    @size.deleter
    def size(self):
        pass

    short = lambda self: None

    def original(self):
        pass

    renamed = original
    del original

    def __new__(cls):
        return object.__new__(cls)


class Left(Plain):
    def overridden(self):
        pass


class Right(Plain):
    __slots__ = ("a", "b")

    def slotted(self):
        pass


class Both(Left, Right):
    pass


example(Plain, Plain.__dict__["run"], "Plain.run")
example(Both, Plain.__dict__["run"], "Plain.run")
example(Both, Plain.__dict__["overridden"], "Plain.overridden")
example(Both, Left.__dict__["overridden"], "Left.overridden")
example(Both, Right.__dict__["slotted"], "Right.slotted")
example(Right, Right.__dict__["slotted"], "Right.slotted")
example(Left, Plain.__dict__["of_class"].__func__, "Plain.of_class")
example(Left, Plain.__dict__["static"].__func__, "Plain.static")
example(Both, Plain.__dict__["_Plain__hidden"], "Plain.__hidden")
for part in ("fget", "fset", "fdel"):
    example(Both, getattr(Plain.__dict__["size"], part), "Plain.size")
example(Both, Plain.__dict__["short"], "Plain.<lambda>")
example(Both, Plain.__dict__["renamed"], "Plain.original")
example(Both, Plain.__dict__["__new__"].__func__, "Plain.__new__")


class __Private(object):
    def __hidden(self):
        pass


example(__Private, __Private.__dict__["_Private__hidden"], "__Private.__hidden")


def outer():
    class Local(object):
        def run(self):
            def inner(self):
                pass

            return inner

        class Nested(object):
            def run(self):
                pass

    return Local


Local = outer()
example(Local, Local.__dict__["run"], "outer.<locals>.Local.run")
example(Local.Nested, Local.Nested.__dict__["run"], "outer.<locals>.Local.Nested.run")
example(Local, Local().run(), None)


def passes_through(function):
    @functools.wraps(function)
    def wrapper(self):
        return function(self)

    return wrapper


def hides(function):
    def hiding(self):
        return function(self)

    return hiding


class Decorated(object):
    @passes_through
    @passes_through
    def wrapped(self):
        pass

    @hides
    def hidden(self):
        pass

    @contextlib.contextmanager
    def context(self):
        yield

    @property
    @passes_through
    def read(self):
        pass

    @classmethod
    @passes_through
    def made(cls):
        pass


def innermost(function):
    for found in decorated(function):
        if not any(functions_of(cell.cell_contents) for cell in found.__closure__ or ()):
            return found


example(Decorated, innermost(Decorated.__dict__["wrapped"]), "Decorated.wrapped")
example(Decorated, innermost(Decorated.__dict__["hidden"]), "Decorated.hidden")
example(Decorated, innermost(Decorated.__dict__["context"]), "Decorated.context")
example(Decorated, innermost(Decorated.__dict__["read"].fget), "Decorated.read")
example(Decorated, innermost(Decorated.__dict__["made"].__func__), "Decorated.made")
if not PYTHON_2:
    # A wrapper's code is that of every method it wraps.
    example(Decorated, Decorated.__dict__["wrapped"], None)
    example(Decorated, Decorated.__dict__["hidden"], "hides.<locals>.hiding")


class Meta(type):
    def of_meta(cls):
        pass

    def named_self(self):
        pass

    def __new__(cls, name, bases, namespace):
        return type.__new__(cls, name, bases, namespace)


Made = Meta("Made", (object,), {})
example(Made, Meta.__dict__["of_meta"], "Meta.of_meta")
example(Meta, Meta.__dict__["named_self"], "Meta.named_self")
example(Meta, Meta.__dict__["__new__"].__func__, "Meta.__new__")

Abstract = abc.ABCMeta("Abstract", (Plain,), {})
example(Abstract, Plain.__dict__["run"], "Plain.run")


class Number(int):
    def doubled(self):
        pass


class Text(str):
    def shout(self):
        pass


class Problem(ValueError):
    def explain(self):
        pass


example(Number, Number.__dict__["doubled"], "Number.doubled")
example(Text, Text.__dict__["shout"], "Text.shout")
example(Problem, Problem.__dict__["explain"], "Problem.explain")


def attached(self):
    pass


Plain.attached = attached
example(Both, attached, "Plain.attached" if PYTHON_2 else "attached")


class Recursive(object):
    pass


def make_recursive():
    def around(self):
        return around

    return around


Recursive.around = make_recursive()
example(Recursive, Recursive.__dict__["around"], "Recursive.around" if PYTHON_2 else "make_recursive.<locals>.around")


def many(count):
    """The last of `count` attributes, of which every third was deleted."""
    namespace = dict(("attribute_%d" % number, number) for number in range(count))
    cls = type("Many%d" % count, (object,), namespace)
    for number in range(0, count, 3):
        delattr(cls, "attribute_%d" % number)
    return cls


for count in (5, 60, 300, 40000):
    cls = many(count)

    def last(self):
        pass

    cls.last = last
    example(cls, last, "%s.last" % cls.__name__ if PYTHON_2 else "last")

long_name = "x" * 1000
exec("class C_%s(object):\n    def m_%s(self): pass\nLong = C_%s" % (long_name, long_name, long_name))
example(Long, vars(Long)["m_" + long_name], "C_%s.m_%s" % (long_name, long_name))

if PYTHON_2:

    class OldBase:
        def inherited(self):
            pass

        def __hidden(self):
            pass

        @classmethod
        def of_class(cls):
            pass

    class OldLeft(OldBase):
        def left(self):
            pass

    class OldRight:
        def right(self):
            pass

    class Old(OldLeft, OldRight):
        pass

    class Mixed(object, Old):
        pass

    for cls in (Old, Mixed):
        example(cls, OldBase.__dict__["inherited"], "OldBase.inherited")
        example(cls, OldBase.__dict__["_OldBase__hidden"], "OldBase.__hidden")
        example(cls, OldBase.__dict__["of_class"].__func__, "OldBase.of_class")
        example(cls, OldLeft.__dict__["left"], "OldLeft.left")
        example(cls, OldRight.__dict__["right"], "OldRight.right")
    example(OldRight, OldLeft.__dict__["left"], None)
else:
    source = "class %s(object):\n    def %s(self): pass\nFound.append(%s)"
    for word in (u"Gr\xf6\xdfe", u"\u30b9\u30ec\u30c3\u30c9", u"\U00020000\U00020001"):
        Found = []
        exec(source % (word, word.lower(), word))
        function = vars(Found[0])[word.lower()]
        example(Found[0], function, function.__qualname__)
        assert function.__qualname__ == word + "." + word.lower()


def standard_library():
    """Methods of all classes of modules that can be imported without consequences, each with three classes at most."""
    names = """
        argparse ast asyncio base64 calendar code codecs collections concurrent.futures configparser contextlib copy
        csv ctypes datetime decimal difflib dis doctest email.message email.parser email.policy enum fractions ftplib
        functools gettext gzip heapq html.parser http.client http.cookies http.server imaplib inspect io ipaddress
        json logging logging.handlers mailbox mimetypes multiprocessing.managers numbers optparse os pathlib pdb
        pickle pickletools platform plistlib poplib pprint queue random sched selectors shelve shlex shutil smtplib
        socket socketserver ssl statistics string subprocess tarfile tempfile textwrap threading trace traceback
        typing unittest unittest.mock urllib.request urllib.parse urllib.robotparser uuid weakref wave xml.dom.minidom
        xml.etree.ElementTree xml.sax.handler xmlrpc.client xmlrpc.server zipfile
        BaseHTTPServer ConfigParser Cookie Queue SocketServer StringIO UserDict cookielib httplib mhlib sets urllib2
        xmlrpclib
    """.split()
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            pass
    seen = set()
    classes_of = {}
    methods = []
    for module in list(sys.modules.values()):
        for cls in list(vars(module).values()) if isinstance(module, types.ModuleType) else ():
            if not isinstance(cls, (type, OLD_STYLE)) or id(cls) in seen or "unittest.mock" in str(cls):
                continue
            seen.add(id(cls))
            kept.append(cls)
            for base in bases_of(cls):
                for value in list(vars(base).values()):
                    for function in functions_of(value):
                        code = function.__code__
                        if (id(cls), id(code)) in seen or classes_of.get(id(code), 0) == 3:
                            continue
                        seen.add((id(cls), id(code)))
                        classes_of[id(code)] = classes_of.get(id(code), 0) + 1
                        methods.append([id(cls), id(code), code.co_name, right_names(cls, code)])
    return methods


library = [] if sys.version_info >= (3, 11) else standard_library()
print(json.dumps({
    "hex": sys.hexversion,
    "pid": os.getpid(),
    "free_threaded": bool(getattr(sys, "abiflags", "").count("t")),
    "examples": examples,
    "library": library,
    "classes": [[id(cls), cls.__name__] for cls, _ in example_classes],
}))
sys.stdout.flush()
sys.stdin.readline()
