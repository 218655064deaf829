"""Runs an artefact from Python with the standard library alone; prints what is where, and writes the outputs.

    host.py LIBRARY DRIVER WEIGHTS INPUT OUTPUT BATCH
"""

import ctypes
import sys
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p

library_path, driver, weights, input_path, output_path, batch_text = sys.argv[1:]
batch = int(batch_text)
name = "timesformer"
library = ctypes.CDLL(library_path)


class Port(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("type", c_char_p), ("rank", c_int)]


def function(suffix, result, *arguments):
    found = getattr(library, f"{name}_{suffix}")
    found.restype, found.argtypes = result, list(arguments)
    return found


error = function("error", c_char_p)
create = function("create", c_void_p, c_char_p, c_int)
destroy = function("destroy", None, c_void_p)
load_weights = function("load_weights", c_int, c_void_p, c_char_p)
run_host = function("run_host", c_int, c_void_p, c_int, POINTER(c_void_p), POINTER(c_void_p))


def check(failed):
    if failed:
        raise RuntimeError(error().decode())


def ports(kind):
    """Of each port its name, type, shape and bytes, for this batch."""
    count = function(f"{kind}_count", c_int)()
    at = function(kind, POINTER(Port), c_int)
    shape_of = function(f"{kind}_shape", c_size_t, c_int, c_int, POINTER(c_int64))
    found = []
    for index in range(count):
        port = at(index).contents
        extents = (c_int64 * port.rank)()
        size = shape_of(index, batch, extents)
        check(size == 0)
        found.append((port.name.decode(), port.type.decode(), list(extents), size))
    return found


inputs, outputs = ports("input"), ports("output")
for name_of_port, type_of_port, shape, _ in inputs + outputs:
    print(name_of_port, type_of_port, shape)

context = create(driver.encode(), 0)
check(not context)
check(load_weights(context, weights.encode()))
with open(input_path, "rb") as file:
    given = ctypes.create_string_buffer(file.read(), inputs[0][3])
results = [ctypes.create_string_buffer(size) for *_, size in outputs]
addresses = lambda arrays: (c_void_p * len(arrays))(*[ctypes.addressof(array) for array in arrays])
check(run_host(context, batch, addresses([given]), addresses(results)))
destroy(context)
with open(output_path, "wb") as file:
    for result in results:
        file.write(result.raw)
