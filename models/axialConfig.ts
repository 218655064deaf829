/** How Axial-DeepLab is configured, and which configurations cannot be: channels and lengths that do not fit together. */
import { z } from "zod";

const count = z.int().positive();
const Extent = z.object({ h: count, w: count });

/** Channels fall into heads, and those of a head into a query's half, a key's, and the values. */
const halved = (value: number, channels: number, groups: number): string | null =>
  channels > 0 && channels % (2 * groups) === 0
    ? null
    : `${value} makes ${channels} channels of values, and queries and keys of ${groups} heads have half of them each: ` +
      `a multiple of ${2 * groups} does`;

export const AttentionConfig = z
  .strictObject({
    in_planes: count,
    out_planes: count,
    groups: count,
    /** The length of the axis. */
    kernel_size: count,
    stride: count.default(1),
    width: z.boolean().default(false),
    extent: Extent,
  })
  .superRefine(({ out_planes, groups, kernel_size, width, extent }, context) => {
    const axis = width ? "w" : "h";
    const uneven = halved(out_planes, out_planes, groups);
    if (uneven !== null) context.addIssue({ code: "custom", path: ["out_planes"], message: uneven });
    if (kernel_size === extent[axis]) return;
    const message = `it is ${kernel_size}, and the axis "${axis}" that is attended along has ${extent[axis]}: both must be the same`;
    context.addIssue({ code: "custom", path: ["kernel_size"], message });
  });

export const BlockConfig = z
  .strictObject({
    inplanes: count,
    planes: count,
    stride: count.default(1),
    groups: count.default(1),
    base_width: count.default(64),
    kernel_size: count.default(56),
  })
  .superRefine((config, context) => {
    const { planes, groups, stride, kernel_size } = config;
    const uneven = halved(planes, widthOf(planes, config.base_width), groups);
    if (uneven !== null) context.addIssue({ code: "custom", path: ["planes"], message: uneven });
    if (kernel_size % stride !== 0) {
      const message = `${stride} does not divide maps of ${kernel_size}: pooling would leave ${Math.floor(kernel_size / stride)}, the shortcut ${Math.ceil(kernel_size / stride)}`;
      context.addIssue({ code: "custom", path: ["stride"], message });
    }
  });
export type BlockConfig = z.infer<typeof BlockConfig>;

/** Channels of a block's attentions. */
export const widthOf = (planes: number, baseWidth: number): number => Math.floor(planes * (baseWidth / 64));
/** A block gives twice as many channels as it has planes. */
export const expansion = 2;

export const NetConfig = z
  .strictObject({
    layers: z.tuple([count, count, count, count]).default([3, 4, 6, 3]),
    num_classes: count.default(1000),
    groups: count.default(8),
    width_per_group: count.default(64),
    /** What the published widths are multiplied with. */
    s: z.number().positive().default(0.5),
    resolution: count.default(224),
    /** Of the last three layers: whether they keep the extents of the layer before. */
    replace_stride_with_dilation: z.tuple([z.boolean(), z.boolean(), z.boolean()]).default([false, false, false]),
  })
  .superRefine((config, context) => {
    const wrong = (field: string, message: string) => context.addIssue({ code: "custom", path: [field], message });
    // The stem halves maps twice, and a half that is left counts whole.
    let extent = Math.ceil(Math.ceil(config.resolution / 2) / 2);
    for (const [index, { planes, stride, span }] of stagesOf(config).entries()) {
      const uneven = halved(config.s, widthOf(planes, config.width_per_group), config.groups);
      if (uneven !== null) return wrong("s", `in layer${index + 1}, ${uneven}`);
      if (extent !== span || extent % stride !== 0)
        return wrong(
          "resolution",
          `${config.resolution} leaves layer${index + 1} maps of ${extent}, where it ${extent === span ? `takes every ${stride}nd position` : `attends along ${span}`}: a multiple of 32 fits`,
        );
      extent /= stride;
    }
  });
export type NetConfig = z.infer<typeof NetConfig>;

export type Stage = {
  readonly blocks: number;
  readonly planes: number;
  readonly stride: number;
  readonly span: number;
};
/** The layers of a network: `span` is the length of lines in the first block, which takes every `stride`-th position. */
export const stagesOf = ({ layers, s, resolution, replace_stride_with_dilation }: NetConfig): readonly Stage[] =>
  layers.map((blocks, index) => ({
    blocks,
    planes: Math.floor(128 * 2 ** index * s),
    stride: index === 0 || replace_stride_with_dilation[index - 1] === true ? 1 : 2,
    // What published code writes for images of 224.
    span: Math.floor((([56, 56, 28, 14][index] ?? 14) * resolution) / 224),
  }));
