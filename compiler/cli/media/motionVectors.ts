/** A frame of a compressed video, in the order in which frames are shown. */
export type CompressedFrame = {
  readonly width: number;
  readonly height: number;
  /** Whether other frames may be predicted from it: one that stands alone, or is predicted from earlier ones alone. */
  readonly isReference: boolean;
  readonly vectors: readonly BlockVector[];
};

/** Where a block of a frame was found in another one, in pixels. */
export type BlockVector = {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly from: "past" | "future";
  /** From the block to where it was found. */
  readonly x: number;
  readonly y: number;
};

/** Whether the package that reads motion vectors is there. It brings a decoder of its own, and nobody needs it for the rest. */
export const canReadMotionVectors = async (): Promise<boolean> => (await binding()) !== null;

/** The frames of a video, as long as they are asked for; none where it cannot be read so. */
export async function* readMotionVectors(file: string): AsyncGenerator<CompressedFrame> {
  const av = await binding();
  if (av === null) return;
  const format = new av.lib.FormatContext();
  if ((await format.openInput(file)) < 0 || (await format.findStreamInfo(null)) < 0) return;
  const index = format.findBestStream(av.constants.AVMEDIA_TYPE_VIDEO);
  const stream = format.streams?.[index];
  const codec = stream === undefined ? null : av.lib.Codec.findDecoder(stream.codecpar.codecId);
  if (stream === undefined || codec === null) return;
  const decoder = new av.lib.CodecContext();
  const [packet, frame] = [new av.lib.Packet(), new av.lib.Frame()];
  try {
    decoder.allocContext3(codec);
    decoder.parametersToContext(stream.codecpar);
    decoder.setFlags2(av.constants.AV_CODEC_FLAG2_EXPORT_MVS);
    if ((await decoder.open2(codec, null)) < 0) return;
    packet.alloc();
    frame.alloc();
    while ((await format.readFrame(packet)) >= 0) {
      if (packet.streamIndex === index) {
        await decoder.sendPacket(packet);
        yield* decoded(decoder, frame, av.constants);
      }
      packet.unref();
    }
    await decoder.sendPacket(null);
    yield* decoded(decoder, frame, av.constants);
  } finally {
    frame.free();
    packet.free();
    decoder.freeContext();
    await format.closeInput();
  }
}

async function* decoded(
  decoder: CodecContext,
  frame: Frame,
  { AV_FRAME_DATA_MOTION_VECTORS, AV_PICTURE_TYPE_B }: Binding["constants"],
): AsyncGenerator<CompressedFrame> {
  while ((await decoder.receiveFrame(frame)) >= 0) {
    const data = frame.getSideData(AV_FRAME_DATA_MOTION_VECTORS);
    yield {
      width: frame.width,
      height: frame.height,
      isReference: frame.pictType !== AV_PICTURE_TYPE_B,
      vectors: data === null ? [] : parseVectors(data),
    };
    frame.unref();
  }
}

/** AVMotionVector of libavutil/motion_vector.h, in the memory of this machine: all that fovea runs on are little-endian. */
const vectorBytes = 40;
function parseVectors(data: Buffer): BlockVector[] {
  const vectors: BlockVector[] = [];
  for (let at = 0; at + vectorBytes <= data.length; at += vectorBytes) {
    const [width, height] = [data.readUInt8(at + 4), data.readUInt8(at + 5)];
    const scale = data.readUInt16LE(at + 32);
    if (scale === 0) continue;
    vectors.push({
      left: data.readInt16LE(at + 10) - width / 2,
      top: data.readInt16LE(at + 12) - height / 2,
      width,
      height,
      from: data.readInt32LE(at) < 0 ? "past" : "future",
      x: data.readInt32LE(at + 24) / scale,
      y: data.readInt32LE(at + 28) / scale,
    });
  }
  return vectors;
}

/** What is used of node-av (FFmpeg's own functions by their names), so that fovea builds where it is not installed. */
type Binding = {
  readonly lib: {
    readonly FormatContext: new () => FormatContext;
    readonly CodecContext: new () => CodecContext;
    readonly Codec: { readonly findDecoder: (codec: number) => object | null };
    readonly Packet: new () => Packet;
    readonly Frame: new () => Frame;
  };
  readonly constants: {
    readonly AVMEDIA_TYPE_VIDEO: number;
    readonly AV_CODEC_FLAG2_EXPORT_MVS: number;
    readonly AV_FRAME_DATA_MOTION_VECTORS: number;
    readonly AV_PICTURE_TYPE_B: number;
  };
};
type Parameters = { readonly codecId: number };
/** Below zero: an error of FFmpeg. */
type Status = Promise<number>;
type FormatContext = {
  readonly openInput: (file: string) => Status;
  readonly findStreamInfo: (options: null) => Status;
  readonly findBestStream: (kind: number) => number;
  readonly streams: readonly { readonly codecpar: Parameters }[] | null;
  readonly readFrame: (packet: Packet) => Status;
  readonly closeInput: () => Promise<void>;
};
type CodecContext = {
  readonly allocContext3: (codec: object) => void;
  readonly parametersToContext: (parameters: Parameters) => number;
  readonly setFlags2: (flag: number) => void;
  readonly open2: (codec: object, options: null) => Status;
  readonly sendPacket: (packet: Packet | null) => Status;
  readonly receiveFrame: (frame: Frame) => Status;
  readonly freeContext: () => void;
};
type Packet = {
  readonly streamIndex: number;
  readonly alloc: () => void;
  readonly unref: () => void;
  readonly free: () => void;
};
type Frame = {
  readonly width: number;
  readonly height: number;
  readonly pictType: number;
  readonly getSideData: (kind: number) => Buffer | null;
  readonly alloc: () => void;
  readonly unref: () => void;
  readonly free: () => void;
};

/** Loaded when a video is asked for its motion. Null where it is not installed, or not for this machine. */
async function binding(): Promise<Binding | null> {
  // Named by a variable, for TypeScript would ask for its types.
  const name: string = "node-av";
  try {
    const [lib, constants] = await Promise.all([import(`${name}/lib`), import(`${name}/constants`)]);
    return { lib: lib as Binding["lib"], constants: constants as Binding["constants"] };
  } catch {
    return null;
  }
}
