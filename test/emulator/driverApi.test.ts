import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { compileImages } from "../../compiler/toolchain/compileImages.ts";
import { int, openTestDevice, type TestDevice } from "./driver.ts";
import { onGpu } from "../support/testDevice.ts";

// The driver API as the emulated device keeps it: the parts that the runtime relies on.
let device: TestDevice;
let strided = 0n;
const [invalidValue, outOfMemory, noBinary, illegalAddress] = [1, 2, 209, 700];
beforeAll(async () => {
  if (onGpu) return;
  device = await openTestDevice();
  const source = await readFile(join(import.meta.dirname, "kernels", "copies.cu"), "utf8");
  const [image] = await compileImages([{ name: "copies", family: "device", source }], ["emulated"]);
  strided = device.entry(device.make("int cuModuleLoadData(void*, const void*)", image?.image), "strided");
}, 120_000);

describe.skipIf(onGpu)("the driver API", () => {
  it("refuses a cubin as the real driver refuses a shared object", () => {
    const cubin = new Uint8Array(64);
    cubin.set([0x7f, 0x45, 0x4c, 0x46]);
    cubin[18] = 190; // EM_CUDA
    const module = new BigUint64Array(1);
    expect(device.call("int cuModuleLoadData(void*, const void*)", module, cubin)).toBe(noBinary);
    expect(device.report()).toContain("cubin");
  });

  it("has as much memory as it is given", () => {
    device.set("memory_limit", 1 << 20);
    const address = new BigUint64Array(1);
    expect(device.call("int cuMemAlloc_v2(void*, size_t)", address, 2 << 20)).toBe(outOfMemory);
    device.set("memory_limit", 2 ** 34);
    const free = new BigUint64Array(2);
    const info = (): bigint => {
      device.call("int cuMemGetInfo_v2(void*, void*)", free, free.subarray(1));
      return free[0] ?? 0n;
    };
    const before = info();
    const held = device.allocate(1 << 20);
    expect(before - info()).toBe(1n << 20n);
    expect(device.call("int cuMemFree_v2(uint64_t)", held)).toBe(0);
    expect(info()).toBe(before);
    expect(device.call("int cuMemFree_v2(uint64_t)", held)).toBe(invalidValue);
  });

  it("refuses copies and launches beyond what exists", () => {
    const held = device.allocate(256);
    const host = new Uint8Array(512);
    expect(device.call("int cuMemcpyHtoD_v2(uint64_t, const void*, size_t)", held, host, 257)).toBe(invalidValue);
    expect(() => device.launch(strided, { block: 2048, args: [held, held, int(16)] })).toThrow("gives 1");
    expect(() => device.launch(strided, { block: 32, shared: 1 << 20, args: [held, held, int(16)] })).toThrow();
    expect(() => device.launch(strided, { block: 32, args: [held] })).toThrow("gives 1");
  });

  it("stays broken after an illegal access until the context is reset", () => {
    const to = device.allocate(128);
    device.launch(strided, { block: 32, shared: 1024, args: [to, to, int(1 << 20)] });
    expect(device.synchronize()).toBe(illegalAddress);
    expect(device.synchronize()).toBe(illegalAddress);
    expect(device.call("int cuMemAlloc_v2(void*, size_t)", new BigUint64Array(1), 64)).toBe(illegalAddress);
    expect(device.call("int cuDevicePrimaryCtxReset_v2(int)", 0)).toBe(0);
    expect(device.synchronize()).toBe(0);
    const from = device.upload(new Uint8Array(512).fill(9));
    const again = device.allocate(128);
    device.launch(strided, { block: 32, shared: 1024, args: [from, again, int(16)] });
    expect(device.download(new Uint8Array(128), again)).toEqual(new Uint8Array(128).fill(9));
  });

  it("captures graphs, and changes a kernel's parameters in them", () => {
    const [nine, three] = [9, 3].map((v) => device.upload(new Uint8Array(512).fill(v))) as [bigint, bigint];
    const to = device.upload(new Uint8Array(128));
    const stream = device.make("int cuStreamCreate(void*, uint32_t)", 1);
    const call = (prototype: string, ...rest: readonly unknown[]): void =>
      expect(device.call(prototype, ...rest)).toBe(0);
    const graph = new BigUint64Array(1);
    call("int cuStreamBeginCapture_v2(void*, int)", stream, 0);
    device.launch(strided, { block: 32, shared: 1024, args: [nine, to, int(16)] }, stream);
    call("int cuStreamEndCapture(void*, void*)", stream, graph);
    expect(device.download(new Uint8Array(1), to)[0]).toBe(0);
    const exec = device.make("int cuGraphInstantiateWithFlags(void*, void*, uint64_t)", graph[0], 0);
    call("int cuGraphLaunch(void*, void*)", exec, stream);
    call("int cuStreamSynchronize(void*)", stream);
    expect(device.download(new Uint8Array(1), to)[0]).toBe(9);

    const [node, count] = [new BigUint64Array(1), new BigUint64Array([1n])];
    call("int cuGraphGetNodes(void*, void*, void*)", graph[0], node, count);
    const params = new DataView(new ArrayBuffer(72)); // CUDA_KERNEL_NODE_PARAMS_v2
    call("int cuGraphKernelNodeGetParams_v2(void*, void*)", node[0], params.buffer);
    const args = device.hostArguments([three, to, int(16)]);
    params.setBigUint64(48, args.extra, true);
    call("int cuGraphExecKernelNodeSetParams_v2(void*, void*, const void*)", exec, node[0], params.buffer);
    call("int cuGraphLaunch(void*, void*)", exec, stream);
    call("int cuStreamSynchronize(void*)", stream);
    expect(device.download(new Uint8Array(1), to)[0]).toBe(3);
    call("int cuGraphExecDestroy(void*)", exec);
    call("int cuGraphDestroy(void*)", graph[0]);
    call("int cuStreamDestroy_v2(void*)", stream);
  });

  it("with deferred streams, work waits for whoever waits for it", () => {
    const from = device.upload(new Uint8Array(512).fill(5));
    const to = device.upload(new Uint8Array(128));
    const [first, second] = [0, 1].map(() => device.make("int cuStreamCreate(void*, uint32_t)", 1)) as [bigint, bigint];
    const event = device.make("int cuEventCreate(void*, uint32_t)", 0);
    const seen = new Uint8Array(128);
    const copyBack = "int cuMemcpyDtoHAsync_v2(void*, uint64_t, size_t, void*)";
    device.set("deferred_streams", 1);
    device.launch(strided, { block: 32, shared: 1024, args: [from, to, int(16)] }, first);
    device.call("int cuEventRecord(void*, void*)", event, first);
    device.call(copyBack, seen, to, 128, second);
    device.call("int cuStreamSynchronize(void*)", second);
    expect(seen[0]).toBe(0); // nothing said that the copy comes after the kernel
    device.call("int cuStreamWaitEvent(void*, void*, uint32_t)", second, event, 0);
    device.call(copyBack, seen, to, 128, second);
    device.call("int cuStreamSynchronize(void*)", second);
    expect(seen[0]).toBe(5);
    device.set("deferred_streams", 0);
  });
});
