declare const handleKind: unique symbol;
/** A driver's handle: a bare address to the foreign-function library, so that TypeScript must keep the kinds apart. */
type Handle<Kind extends string> = bigint & { readonly [handleKind]: Kind };
export type CuContext = Handle<"context">;
export type CuModule = Handle<"module">;
export type CuFunction = Handle<"function">;
export type CuStream = Handle<"stream">;
export type CuEvent = Handle<"event">;
export type CuGraph = Handle<"graph">;
export type CuGraphExec = Handle<"graphExec">;
export type DevicePointer = Handle<"devicePointer">;

/** Where the driver writes a result of 64 bits. */
export type Out<T extends bigint> = BigUint64Array & { readonly [handleKind]?: T };
/** Where the driver writes a result of 32 bits. */
type Out32 = Int32Array;
/** An address on the host, of memory that the caller keeps alive. */
export type HostAddress = bigint;
export type Status = number;

/** Every function of the driver API that fovea calls, grouped as in the CUDA manual. */
export type DriverApi = {
  // Errors
  readonly cuGetErrorName: (status: Status, text: Out<HostAddress>) => Status;
  readonly cuGetErrorString: (status: Status, text: Out<HostAddress>) => Status;
  // Initialisation and devices
  readonly cuInit: (flags: number) => Status;
  readonly cuDriverGetVersion: (version: Out32) => Status;
  readonly cuDeviceGetCount: (count: Out32) => Status;
  readonly cuDeviceGet: (device: Out32, ordinal: number) => Status;
  readonly cuDeviceGetName: (text: Uint8Array, bytes: number, device: number) => Status;
  readonly cuDeviceTotalMem_v2: (bytes: Out<bigint>, device: number) => Status;
  readonly cuDeviceGetAttribute: (value: Out32, attribute: number, device: number) => Status;
  // Contexts
  readonly cuDevicePrimaryCtxRetain: (context: Out<CuContext>, device: number) => Status;
  readonly cuDevicePrimaryCtxRelease_v2: (device: number) => Status;
  readonly cuDevicePrimaryCtxReset_v2: (device: number) => Status;
  readonly cuCtxSetCurrent: (context: CuContext) => Status;
  readonly cuCtxSynchronize: () => Status;
  // Modules
  readonly cuModuleLoadData: (module: Out<CuModule>, image: Uint8Array) => Status;
  readonly cuModuleUnload: (module: CuModule) => Status;
  readonly cuModuleGetFunction: (entry: Out<CuFunction>, module: CuModule, name: string) => Status;
  readonly cuFuncSetAttribute: (entry: CuFunction, attribute: number, value: number) => Status;
  // Memory
  readonly cuMemGetInfo_v2: (free: Out<bigint>, total: Out<bigint>) => Status;
  readonly cuMemAlloc_v2: (address: Out<DevicePointer>, bytes: number) => Status;
  readonly cuMemFree_v2: (address: DevicePointer) => Status;
  readonly cuMemcpyHtoDAsync_v2: (to: DevicePointer, from: ArrayBufferView, bytes: number, stream: CuStream) => Status;
  readonly cuMemcpyHtoD_v2: (to: DevicePointer, from: ArrayBufferView, bytes: number) => Status;
  readonly cuMemcpyDtoH_v2: (to: ArrayBufferView, from: DevicePointer, bytes: number) => Status;
  readonly cuMemcpyDtoDAsync_v2: (to: DevicePointer, from: DevicePointer, bytes: number, stream: CuStream) => Status;
  // Streams and events
  readonly cuStreamCreate: (stream: Out<CuStream>, flags: number) => Status;
  readonly cuStreamDestroy_v2: (stream: CuStream) => Status;
  readonly cuStreamSynchronize: (stream: CuStream) => Status;
  readonly cuEventCreate: (event: Out<CuEvent>, flags: number) => Status;
  readonly cuEventDestroy_v2: (event: CuEvent) => Status;
  readonly cuEventRecord: (event: CuEvent, stream: CuStream) => Status;
  readonly cuEventElapsedTime: (milliseconds: Float32Array, start: CuEvent, end: CuEvent) => Status;
  // Launches and graphs; a launch takes its arguments as one packed buffer (`extra`), not one by one
  readonly cuLaunchKernel: (
    entry: CuFunction,
    gridX: number,
    gridY: number,
    gridZ: number,
    blockX: number,
    blockY: number,
    blockZ: number,
    sharedBytes: number,
    stream: CuStream,
    parameters: null,
    extra: HostAddress,
  ) => Status;
  readonly cuStreamBeginCapture_v2: (stream: CuStream, mode: number) => Status;
  readonly cuStreamEndCapture: (stream: CuStream, graph: Out<CuGraph>) => Status;
  readonly cuGraphInstantiateWithFlags: (executable: Out<CuGraphExec>, graph: CuGraph, flags: number) => Status;
  readonly cuGraphLaunch: (executable: CuGraphExec, stream: CuStream) => Status;
  readonly cuGraphExecDestroy: (executable: CuGraphExec) => Status;
  readonly cuGraphDestroy: (graph: CuGraph) => Status;
};

/** The same functions as C declares them; every pointer and handle is a `void*`. */
export const prototypes: { readonly [K in keyof DriverApi]: string } = {
  // Errors
  cuGetErrorName: "int cuGetErrorName(int, void*)",
  cuGetErrorString: "int cuGetErrorString(int, void*)",
  // Initialisation and devices
  cuInit: "int cuInit(uint32_t)",
  cuDriverGetVersion: "int cuDriverGetVersion(void*)",
  cuDeviceGetCount: "int cuDeviceGetCount(void*)",
  cuDeviceGet: "int cuDeviceGet(void*, int)",
  cuDeviceGetName: "int cuDeviceGetName(void*, int, int)",
  cuDeviceTotalMem_v2: "int cuDeviceTotalMem_v2(void*, int)",
  cuDeviceGetAttribute: "int cuDeviceGetAttribute(void*, int, int)",
  // Contexts
  cuDevicePrimaryCtxRetain: "int cuDevicePrimaryCtxRetain(void*, int)",
  cuDevicePrimaryCtxRelease_v2: "int cuDevicePrimaryCtxRelease_v2(int)",
  cuDevicePrimaryCtxReset_v2: "int cuDevicePrimaryCtxReset_v2(int)",
  cuCtxSetCurrent: "int cuCtxSetCurrent(void*)",
  cuCtxSynchronize: "int cuCtxSynchronize()",
  // Modules
  cuModuleLoadData: "int cuModuleLoadData(void*, const void*)",
  cuModuleUnload: "int cuModuleUnload(void*)",
  cuModuleGetFunction: "int cuModuleGetFunction(void*, void*, const char*)",
  cuFuncSetAttribute: "int cuFuncSetAttribute(void*, int, int)",
  // Memory
  cuMemGetInfo_v2: "int cuMemGetInfo_v2(void*, void*)",
  cuMemAlloc_v2: "int cuMemAlloc_v2(void*, size_t)",
  cuMemFree_v2: "int cuMemFree_v2(uint64_t)",
  cuMemcpyHtoDAsync_v2: "int cuMemcpyHtoDAsync_v2(uint64_t, const void*, size_t, void*)",
  cuMemcpyHtoD_v2: "int cuMemcpyHtoD_v2(uint64_t, const void*, size_t)",
  cuMemcpyDtoH_v2: "int cuMemcpyDtoH_v2(void*, uint64_t, size_t)",
  cuMemcpyDtoDAsync_v2: "int cuMemcpyDtoDAsync_v2(uint64_t, uint64_t, size_t, void*)",
  // Streams and events
  cuStreamCreate: "int cuStreamCreate(void*, uint32_t)",
  cuStreamDestroy_v2: "int cuStreamDestroy_v2(void*)",
  cuStreamSynchronize: "int cuStreamSynchronize(void*)",
  cuEventCreate: "int cuEventCreate(void*, uint32_t)",
  cuEventDestroy_v2: "int cuEventDestroy_v2(void*)",
  cuEventRecord: "int cuEventRecord(void*, void*)",
  cuEventElapsedTime: "int cuEventElapsedTime(void*, void*, void*)",
  // Launches and graphs; a launch takes its arguments as one packed buffer (`extra`), not one by one
  cuLaunchKernel:
    "int cuLaunchKernel(void*, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, void*, void*, void*)",
  cuStreamBeginCapture_v2: "int cuStreamBeginCapture_v2(void*, int)",
  cuStreamEndCapture: "int cuStreamEndCapture(void*, void*)",
  cuGraphInstantiateWithFlags: "int cuGraphInstantiateWithFlags(void*, void*, uint64_t)",
  cuGraphLaunch: "int cuGraphLaunch(void*, void*)",
  cuGraphExecDestroy: "int cuGraphExecDestroy(void*)",
  cuGraphDestroy: "int cuGraphDestroy(void*)",
};
