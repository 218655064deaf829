"""Runs a network of several clip lengths on NumPy arrays: which program it takes follows from their shapes.

    contract.py LIBRARY DRIVER WEIGHTS INPUT OUTPUT BATCH FRAMES

Tensors that are on the device already (torch's) go in and out by their addresses: see on_device.
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


names = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "int32": "i32", "uint8": "u8"}


def on_device(context, x, y, stream=None):
    """From a torch tensor on the device to another, on a stream: torch.cuda.current_stream().cuda_stream.

    Of a tensor it asks for shape, dtype, is_contiguous() and data_ptr().
    """
    batch, frames = extents_of(x.shape)
    wanted = (c_int64 * 3)()
    check(output_shape(0, batch, frames, wanted) == 0)
    port = about["programs"][0]
    for tensor, shape, kind in ((x, x.shape, port["inputs"][0]["type"]), (y, wanted, port["outputs"][0]["type"])):
        if tuple(tensor.shape) != tuple(shape) or names.get(str(tensor.dtype).removeprefix("torch.")) != kind:
            raise ValueError(f"{tuple(tensor.shape)} of {tensor.dtype} is not {tuple(shape)} of {kind}")
        if not tensor.is_contiguous():
            raise ValueError("a tensor that is not contiguous: .contiguous() makes it so")
    check(run(context, batch, frames, (c_uint64 * 1)(x.data_ptr()), (c_uint64 * 1)(y.data_ptr()), stream))


class Tensor:
    """What on_device asks of torch.Tensor, for a device that torch does not know: memory of the driver's."""

    def __init__(self, driver, shape, dtype, values=None):
        self.driver, self.shape, self.dtype = driver, shape, f"torch.{np.dtype(dtype)}"
        self.array = np.ascontiguousarray(np.empty(shape, dtype) if values is None else values)
        self.address = c_uint64()
        assert driver.cuMemAlloc_v2(byref(self.address), c_size_t(self.array.nbytes)) == 0
        bytes = c_size_t(self.array.nbytes)
        assert driver.cuMemcpyHtoD_v2(self.address, c_void_p(self.array.ctypes.data), bytes) == 0

    def data_ptr(self):
        return self.address.value

    def is_contiguous(self):
        return True

    def numpy(self):
        bytes = c_size_t(self.array.nbytes)
        assert self.driver.cuMemcpyDtoH_v2(c_void_p(self.array.ctypes.data), self.address, bytes) == 0
        return self.array


def refused(call, *arguments):
    try:
        call(*arguments)
    except ValueError as refusal:
        return str(refusal)
    raise AssertionError("what is outside of the contract was taken")


x = np.fromfile(input_path, np.float32).reshape(int(batch_text), int(frames_text), 6)
context = create(driver_path.encode(), 0)
check(not context)
check(load_weights(context, weights.encode()))
y = on_host(context, x)
print(refused(on_host, context, np.zeros((1, 5, 6))))

# The same by addresses, on a stream of the caller's.
driver = ctypes.CDLL(driver_path)
current, stream = c_void_p(), c_void_p()
assert driver.cuDevicePrimaryCtxRetain(byref(current), 0) == 0 and driver.cuCtxSetCurrent(current) == 0
assert driver.cuStreamCreate(byref(stream), 1) == 0
x_tensor = Tensor(driver, x.shape, np.float32, x)
y_tensor = Tensor(driver, y.shape, output_type)
on_device(context, x_tensor, y_tensor, stream)
assert driver.cuStreamSynchronize(stream) == 0
assert np.array_equal(y_tensor.numpy(), y)
print(refused(on_device, context, x_tensor, Tensor(driver, y.shape, np.int32)))
destroy(context)
y.tofile(output_path)
