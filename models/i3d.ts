/**
 * The trunk of I3D (arXiv 1705.07750), up to `Mixed_4f`: a quarter of the frames, a sixteenth of the height and width.
 * Parameter names are those of its published port to PyTorch.
 */
import { BatchNorm, concat, Conv, type Grid, keep, Linear, maxPool, Module, relu } from "fovea";
import { z } from "zod";

/** Frames of features. */
export type Clip = Grid<"t" | "h" | "w">;
export const asClip = "b c t h w";

const count = z.int().positive();
const Widths = z.tuple([count, count, count, count, count, count]);
export const TrunkConfig = z.strictObject({
  conv1: count.default(64),
  conv2b: count.default(64),
  conv2c: count.default(192),
  /** Blocks by name, with the channels of their six convolutions; those of the fourth stage follow its pooling. */
  mixed: z
    .array(z.tuple([z.string().regex(/^Mixed_[34][a-f]$/), Widths]))
    .min(1)
    .default([
      ["Mixed_3b", [64, 96, 128, 16, 32, 32]],
      ["Mixed_3c", [128, 128, 192, 32, 96, 64]],
      ["Mixed_4b", [192, 96, 208, 16, 48, 64]],
      ["Mixed_4c", [160, 112, 224, 24, 64, 64]],
      ["Mixed_4d", [128, 128, 256, 24, 64, 64]],
      ["Mixed_4e", [112, 144, 288, 32, 64, 64]],
      ["Mixed_4f", [256, 160, 320, 32, 128, 128]],
    ]),
});
export type TrunkConfig = z.infer<typeof TrunkConfig>;

type Window = { readonly t: number; readonly h: number; readonly w: number };
const cube = (size: number): Window => ({ t: size, h: size, w: size });
const plane = (size: number): Window => ({ t: 1, h: size, w: size });

/** As TensorFlow pads: as many results as strides begin within the axis, the odd position behind. */
function padding(x: Clip, size: Window, stride: Window) {
  const around = (axis: keyof Window): readonly [number, number] => {
    const over = x.extent(axis) % stride[axis];
    const total = Math.max(size[axis] - (over === 0 ? stride[axis] : over), 0);
    return [Math.floor(total / 2), Math.ceil(total / 2)];
  };
  return { t: around("t"), h: around("h"), w: around("w") };
}

/** The published pooling pads with zeros, which are no more than anything behind a ReLU. */
const pooled = (name: string, x: Clip, size: Window, stride: Window): Clip =>
  keep(name, maxPool({ size, stride, pad: padding(x, size, stride) })(x), asClip);

class Unit3d extends Module<{ readonly out: number; readonly size: number; readonly stride: number }> {
  conv3d: Linear | Conv | undefined;
  bn = new BatchNorm({ eps: 1e-3 });

  forward(x: Clip): Clip {
    const { out, size, stride } = this.config;
    const [window, step] = [cube(size), cube(stride)];
    this.conv3d ??=
      size === 1
        ? new Linear(out, { bias: false })
        : new Conv(out, { size: window, stride: step, pad: padding(x, window, step), bias: false });
    return keep("", relu(this.bn(this.conv3d(x))), asClip);
  }
}
const unit = (out: number, size: number, stride = 1) => new Unit3d({ out, size, stride });

class Mixed extends Module<z.infer<typeof Widths>> {
  b0 = unit(this.config[0], 1);
  b1a = unit(this.config[1], 1);
  b1b = unit(this.config[2], 3);
  b2a = unit(this.config[3], 1);
  b2b = unit(this.config[4], 3);
  b3b = unit(this.config[5], 1);

  forward(x: Clip): Clip {
    const largest = pooled("b3a", x, cube(3), cube(1));
    return keep("", concat([this.b0(x), this.b1b(this.b1a(x)), this.b2b(this.b2a(x)), this.b3b(largest)]), asClip);
  }
}

export class Trunk extends Module<TrunkConfig> {
  Conv3d_1a_7x7 = unit(this.config.conv1, 7, 2);
  Conv3d_2b_1x1 = unit(this.config.conv2b, 1);
  Conv3d_2c_3x3 = unit(this.config.conv2c, 3);
  blocks = this.config.mixed.map(([name, widths]) => [name, new Mixed(widths)] as const);

  constructor(config: TrunkConfig) {
    super(config);
    Object.defineProperty(this, "blocks", { enumerable: false });
    Object.assign(this, Object.fromEntries(this.blocks));
  }

  forward(video: Clip): Clip {
    let x = pooled("MaxPool3d_2a_3x3", this.Conv3d_1a_7x7(video), plane(3), { t: 1, h: 2, w: 2 });
    x = this.Conv3d_2c_3x3(this.Conv3d_2b_1x1(x));
    x = pooled("MaxPool3d_3a_3x3", x, plane(3), { t: 1, h: 2, w: 2 });
    const fourth = this.blocks.findIndex(([name]) => name.startsWith("Mixed_4"));
    for (const [index, [, block]] of this.blocks.entries()) {
      if (index === fourth) x = pooled("MaxPool3d_4a_3x3", x, cube(3), cube(2));
      x = block(x);
    }
    return x;
  }
}
