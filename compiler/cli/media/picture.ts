/** One frame: rows from the top, RGB, 8 bits a channel. */
export type Picture = { readonly width: number; readonly height: number; readonly pixels: Uint8Array };

/** The frames of a source, read when asked for. */
export type FrameSource = {
  readonly file: string;
  readonly frames: number;
  /** Frames a second; null where the source has no clock (a folder of pictures). */
  readonly rate: number | null;
  /** Whether frames are stored as what differs from others: a video. */
  readonly compressed: boolean;
  /** The frames with these numbers, in the order asked for; a number may come more than once. */
  readonly read: (indices: readonly number[]) => Promise<readonly Picture[]>;
};
