"""Runs a network of several clip lengths on NumPy arrays: which program it takes follows from their shapes.

    contract.py LIBRARY DRIVER WEIGHTS INPUT OUTPUT BATCH FRAMES

Arrays that are on the device already (torch tensors) go in by their addresses: see on_device.
"""

import ctypes
import json
import sys
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_uint64, c_void_p

import numpy as np

library_path, driver_path, weights, input_path, output_path, batch_text, frames_text = sys.argv[1:]
library = ctypes.CDLL(library_path)


def function(suffix, result, *arguments):
    found = getattr(library, f"clips_{suffix}")
    found.restype, found.argtypes = result, list(arguments)
    return found


error = function("error", c_char_p)
match = function("match", c_int, POINTER(POINTER(c_int64)), POINTER(c_int), POINTER(c_int))
output_shape = function("output_shape", c_size_t, c_int, c_int, c_int, POINTER(c_int64))
create = function("create", c_void_p, c_char_p, c_int)
destroy = function("destroy", None, c_void_p)
load_weights = function("load_weights", c_int, c_void_p, c_char_p)
run = function("run", c_int, c_void_p, c_int, c_int, POINTER(c_uint64), POINTER(c_uint64), c_void_p)
run_host = function("run_host", c_int, c_void_p, c_int, c_int, POINTER(c_void_p), POINTER(c_void_p))
types = {"f32": np.float32, "f16": np.float16, "i32": np.int32, "u8": np.uint8}
about = json.loads(function("describe", c_char_p)())
output_type = types[about["programs"][0]["outputs"][0]["type"]]


def check(failed):
    if failed:
        raise ValueError(error().decode())


def extents_of(*shapes):
    """The batch and the number of frames for inputs of these shapes."""
    lists = [(c_int64 * len(shape))(*shape) for shape in shapes]
    pointers = (POINTER(c_int64) * len(lists))(*[ctypes.cast(each, POINTER(c_int64)) for each in lists])
    batch, frames = c_int(), c_int()
    check(match(pointers, byref(batch), byref(frames)))
    return batch.value, frames.value


def on_host(context, x):
    """From a NumPy array to a NumPy array."""
    x = np.ascontiguousarray(x, dtype=np.float32)
    batch, frames = extents_of(x.shape)
    shape = (c_int64 * 3)()
    check(output_shape(0, batch, frames, shape) == 0)
    y = np.empty(tuple(shape), output_type)
    check(run_host(context, batch, frames, (c_void_p * 1)(x.ctypes.data), (c_void_p * 1)(y.ctypes.data)))
    return y


def on_device(context, shape, x_address, y_address, stream=None):
    """On arrays of the device: of torch tensors x.shape, x.data_ptr() and torch.cuda.current_stream().cuda_stream."""
    batch, frames = extents_of(shape)
    check(run(context, batch, frames, (c_uint64 * 1)(x_address), (c_uint64 * 1)(y_address), stream))


x = np.fromfile(input_path, np.float32).reshape(int(batch_text), int(frames_text), 6)
context = create(driver_path.encode(), 0)
check(not context)
check(load_weights(context, weights.encode()))
y = on_host(context, x)
try:
    on_host(context, np.zeros((1, 5, 6)))
    raise AssertionError("an array outside of the contract was taken")
except ValueError as refusal:
    print(refusal)

# The same on the device, by addresses; memory and copies are whoever's they are: here the driver's own.
driver = ctypes.CDLL(driver_path)
current = c_void_p()
assert driver.cuDevicePrimaryCtxRetain(byref(current), 0) == 0 and driver.cuCtxSetCurrent(current) == 0
x_address, y_address = c_uint64(), c_uint64()
for address, array in ((x_address, x), (y_address, y)):
    assert driver.cuMemAlloc_v2(byref(address), c_size_t(array.nbytes)) == 0
assert driver.cuMemcpyHtoD_v2(x_address, c_void_p(x.ctypes.data), c_size_t(x.nbytes)) == 0
on_device(context, x.shape, x_address.value, y_address.value)
again = np.empty_like(y)
assert driver.cuCtxSynchronize() == 0
assert driver.cuMemcpyDtoH_v2(c_void_p(again.ctypes.data), y_address, c_size_t(y.nbytes)) == 0
assert np.array_equal(again, y)
destroy(context)
y.tofile(output_path)
