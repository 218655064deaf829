/**
 * How a dense array outside of the program (an input, an output, a checkpoint's tensor) holds a value's elements.
 * Written like einops: `b c t h w`, `(b t) (prefix | h w) c`. Each dimension is one or more parts laid end to end;
 * each part is a product of axes, the last fastest. `b` is the batch, `c` the channels, `prefix` the prefix tokens;
 * `1` is a dimension of one.
 */
export type Layout = readonly LayoutDimension[];
export type LayoutDimension = readonly LayoutPart[];
export type LayoutPart = readonly string[];
