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
    """As in the header; its lists are as long as the longest shape."""

    _fields_ = [("name", c_char_p), ("type", c_char_p), ("rank", c_int), ("fixed", c_int64 * 5), ("per_example", c_int64 * 5)]


def function(suffix, result, *arguments):
    found = getattr(library, f"{name}_{suffix}")
    found.restype, found.argtypes = result, list(arguments)
    return found


error = function("error", c_char_p)
port_bytes = function("port_bytes", c_size_t, POINTER(Port), c_int)
create = function("create", c_void_p, c_char_p, c_int)
destroy = function("destroy", None, c_void_p)
load_weights = function("load_weights", c_int, c_void_p, c_char_p)
run_host = function("run_host", c_int, c_void_p, c_int, POINTER(c_void_p), POINTER(c_void_p))


def check(failed):
    if failed:
        raise RuntimeError(error().decode())


def ports(kind):
    count = function(f"{kind}_count", c_int)()
    at = function(kind, POINTER(Port), c_int)
    return [at(index) for index in range(count)]


inputs, outputs = ports("input"), ports("output")
for port in inputs + outputs:
    shape = [port[0].fixed[axis] + port[0].per_example[axis] * batch for axis in range(port[0].rank)]
    print(port[0].name.decode(), port[0].type.decode(), shape)

context = create(driver.encode(), 0)
check(not context)
check(load_weights(context, weights.encode()))
with open(input_path, "rb") as file:
    given = ctypes.create_string_buffer(file.read(), port_bytes(inputs[0], batch))
results = [ctypes.create_string_buffer(port_bytes(port, batch)) for port in outputs]
addresses = lambda arrays: (c_void_p * len(arrays))(*[ctypes.addressof(array) for array in arrays])
check(run_host(context, batch, addresses([given]), addresses(results)))
destroy(context)
with open(output_path, "wb") as file:
    for result in results:
        file.write(result.raw)
