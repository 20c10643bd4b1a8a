/* What a layout file is about, for the debug information of a compiler. */
#include <Python.h>
#include <frameobject.h>
#if __has_include(<internal/pycore_runtime.h>)
#include <internal/pycore_runtime.h>
#endif
#if __has_include(<internal/pycore_interp.h>)
#include <internal/pycore_interp.h>
#endif
#if __has_include(<internal/pycore_frame.h>)
#include <internal/pycore_frame.h>
#endif
#if __has_include(<internal/pycore_dict.h>)
#include <internal/pycore_dict.h>
#endif
#if __has_include(<internal/pycore_moduleobject.h>)
#include <internal/pycore_moduleobject.h>
#endif
/* 3.8, and 3.7. */
#if __has_include(<internal/pycore_pystate.h>)
#include <internal/pycore_pystate.h>
#elif __has_include(<internal/pystate.h>)
#include <internal/pystate.h>
#endif

/* The interpreter's own constant of this name exists from 3.11 on. */
const unsigned long Py_Version = PY_VERSION_HEX;
