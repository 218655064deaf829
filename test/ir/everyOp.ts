import type { Op } from "../../ir/graph.ts";

/** A loop that changes nothing, so that every value is the same at all times: what steps make of a state is tested elsewhere. */
const loop = `%0: [b, n 3; 1] = input {name="x", layout="b n"}
%1 = state %0 {name="x"}
%2 = reduce %1 {kind=sum, axes=[n]}
%3 = pointwise %2 {body=$0 > 0 ? 1 : 0}
%4 = round %3
%5 = loop %4, %1 {states=["x"], atMost=3}
%6 = after %5, %1`;

/** Small graphs in which each op occurs, one or more for each. The last value is the output `y`. */
export const everyOp: { readonly [K in Op]: readonly string[] } = {
  input: [`%0: [b, prefix 2 over t, t 2, h 3; 4] = input {name="x", layout="(b t) (prefix | h) c"}`],
  parameter: [`%0: [prefix 1, h 3; 2] = parameter {name="pos", shape=[1, 4, 2], layout="1 (prefix | h) c"}`],
  constant: [`%0: [level 2; 2] = constant {values=[0.5, -0, inf, 1e-7]}`],
  linear: [
    `%0: [b, prefix 1 over t, t 2, h 3; 5] = input {name="x", layout="(b t) (prefix | h) c"}
%1: [out 7; 5] = parameter {name="w", shape=[7, 5], layout="out c"}
%2 = linear %0, %1`,
  ],
  conv: [
    `%0: [b, h 7, w 6; 4] = input {name="x", layout="b c h w"}
%1: [out 6, h 3, w 2; 2] = parameter {name="w", shape=[6, 2, 3, 2], layout="out c h w"}
%2 = conv %0, %1 {window=[h 3 stride 2 dilation 2 pad 1 2, w 2 pad 0 1], groups=2}`,
    `%0: [b, t 3, h 4; 4] = input {name="x", layout="b c t h"}
%1: [out 4, h 3; 1] = parameter {name="w", shape=[4, 1, 3], layout="out c h"}
%2 = conv %0, %1 {window=[h 3 pad 1 1], groups=4}`,
  ],
  pointwise: [
    `%0: [b, prefix 2 over t, t 2, h 3; 4] = input {name="x", layout="(b t) (prefix | h) c"}
%1: [t 2; 1] = parameter {name="g", shape=[2], layout="t"}
%2: [4] = parameter {name="o", shape=[4], layout="c"}
%3 = pointwise %2, %0, %1 {body=x.isPrefix ? $1 * $2 : $1 + $0 * sin(x.h + channel) + x.t}`,
    `%0: [b, h 3; 4] = input {name="x", layout="b h c"}
%1: [b, level 2, h 3; 1] = input {name="z", layout="b level h"}
%2 = pointwise %0, %1 {body=$0 * $1}`,
  ],
  round: [`%0: [b, prefix 1, h 3; 2] = input {name="x", layout="b (prefix | h) c"}\n%1 = round %0`],
  normalize: [
    `%0: [b, prefix 1, h 3; 6] = input {name="x", layout="b (prefix | h) c"}\n%1 = normalize %0 {eps=0.00001, groups=1, axes=[]}`,
    `%0: [b, t 2, h 3; 6] = input {name="x", layout="b t h c"}\n%1 = normalize %0 {eps=0.1, groups=2, axes=[h]}`,
  ],
  softmax: [
    `%0: [b, prefix 1, h 3; 6] = input {name="x", layout="b (prefix | h) c"}\n%1 = softmax %0 {over=channels}`,
    `%0: [b, t 2, h 3, w 2; 2] = input {name="x", layout="b t h w c"}\n%1 = softmax %0 {over=[t, w]}`,
  ],
  reduce: [
    `%0: [b, prefix 2 over t, t 2, h 3; 2] = input {name="x", layout="b t (prefix | h) c"}\n%1 = reduce %0 {kind=mean, axes=[t]}`,
    `%0: [b, prefix 2, t 2, h 3; 2] = input {name="x", layout="b (prefix | t h) c"}\n%1 = reduce %0 {kind=max, axes=[h, t]}`,
    `%0: [b, t 2, h 3; 2] = input {name="x", layout="b t h c"}\n%1 = reduce %0 {kind=sum, axes=[t]}`,
    `%0: [b, t 2, h 3, w 4; 2] = input {name="x", layout="b t h w c"}\n%1 = round %0\n%2 = reduce %1 {kind=argmax, axes=[w, t]}`,
  ],
  topK: [
    `%0: [b, t 2, h 5, w 3; 2] = input {name="x", layout="b t h w c"}\n%1 = topK %0 {count=4, axes=[h, w]}`,
    `%0: [b, h 5; 1] = input {name="x", layout="b h"}\n%1 = topK %0 {count=5, axes=[h]}`,
  ],
  histogram: [
    `%0: [b, t 2, h 5, w 3; 2] = input {name="x", layout="b t h w c"}\n%1 = round %0\n%2 = histogram %1 {bins=4, axes=[w, t]}`,
  ],
  take: [
    `%0: [b, h 5, t 2; 1] = input {name="x", layout="b h t"}
%1 = pointwise %0 {body=$0 * 3 + 2}
%2 = round %1
%3: [row 4; 3] = parameter {name="w", shape=[4, 3], layout="row c"}
%4 = take %3, %2 {axis=row}`,
    `%0: [b, h 5, t 2; 1] = input {name="x", layout="b h t"}
%1: [b, t 2, n 3; 2] = input {name="z", layout="b t n c"}
%2 = round %0
%3 = take %1, %2 {axis=n}`,
  ],
  pool: [
    `%0: [b, t 2, h 5; 2] = input {name="x", layout="b t h c"}\n%1 = pool %0 {kind=max, window=[h 3 stride 2 pad 1 1], countPadding=false}`,
    `%0: [b, h 5, w 4; 2] = input {name="x", layout="b h w c"}\n%1 = pool %0 {kind=mean, window=[h 3 stride 2 pad 1 1, w 2 pad 1 0], countPadding=false}`,
    `%0: [b, h 5; 2] = input {name="x", layout="b h c"}\n%1 = pool %0 {kind=mean, window=[h 3 stride 2 pad 1 1], countPadding=true}`,
  ],
  attend: [
    `%0: [b, prefix 1 over t, t 2, h 3; 6] = input {name="q", layout="b t (prefix | h) c"}
%1: [b, prefix 1 over t, t 2, h 3; 6] = input {name="k", layout="b t (prefix | h) c"}
%2: [b, prefix 1 over t, t 2, h 3; 4] = input {name="v", layout="b t (prefix | h) c"}
%3: [h 5; 2] = parameter {name="bias", shape=[5, 2], layout="h c"}
%4 = attend %0, %1, %2, %3 {heads=2, scale=0.5, pattern=union(prefix, along(h)), score=q.isPrefix || k.isPrefix ? s : s + table0[q.h - k.h + 2, head], normalize=softmax}`,
    `%0: [b, n 3; 4] = input {name="q", layout="b n c"}
%1: [m 5; 4] = parameter {name="k", shape=[5, 4], layout="m c"}
%2 = attend %0, %1, %1 {heads=1, scale=1, pattern=intersect(where(q.n < k.m), every(m 2; phase 0)), score=s, normalize=count}`,
    `%0: [b, h 4, w 5; 4] = input {name="q", layout="b h w c"}
%1 = attend %0, %0, %0 {heads=2, scale=0.5, pattern=window(h 2, w 3; shift h 1, w 2), score=max(s, 0), normalize=none}`,
    `%0: [b, h 4, w 2; 4] = input {name="q", layout="b h w c"}
%1: [b, h 4, w 2; 4] = input {name="k", layout="b h w c"}
%2: [b, h 4, w 2; 6] = input {name="v", layout="b h w c"}
%3: [2] = parameter {name="scale", shape=[2], layout="c"}
%4: [row 7; 4] = parameter {name="behind", shape=[7, 4], layout="row c"}
%5: [row 7; 4] = parameter {name="before", shape=[7, 4], layout="row c"}
%6: [row 7; 6] = parameter {name="values", shape=[7, 6], layout="row c"}
%7 = attend %0, %1, %2, %3, %4, %5, %6 {heads=2, scale=1, pattern=along(h), score=s * table0[head], normalize=softmax, positions=h query 1 key 2 value 3}`,
    `%0: [b, h 3; 4] = input {name="x", layout="b h c"}
%1: [row 5; 4] = parameter {name="before", shape=[5, 4], layout="row c"}
%2 = attend %0, %0, %0, %1 {heads=1, scale=0.5, pattern=all, score=s, normalize=count, positions=h key 0}`,
  ],
  state: [loop],
  loop: [loop],
  after: [loop],
  sample: [
    `%0: [b, q 3, head 2, level 2, point 3; 2] = input {name="at", layout="b q head level point c"}
%1: [b, q 3, head 2, level 2, point 3; 1] = input {name="logits", layout="b q head level point"}
%2: [b, h 4, w 3; 6] = input {name="x", layout="b h w c"}
%3: [b, w 1, h 2; 6] = input {name="y", layout="b h w c"}
%4 = sample %0, %1, %2, %3 {axes=[w, h], heads=[head], levels=[level], over=[point], coordinates=pixels, padding=zeros, normalize=softmax}`,
    `%0: [b, t 2, u 3, h 2, w 2; 2] = input {name="at", layout="b t u h w c"}
%1: [u 3; 1] = parameter {name="weight", shape=[3], layout="u"}
%2: [b, u 3, h 4, w 3; 5] = input {name="x", layout="b u h w c"}
%3 = sample %0, %1, %2 {axes=[h, w], heads=[], levels=[], over=[u], coordinates=edges, padding=border, normalize=none}`,
    `%0: [b, q 5; 2] = input {name="at", layout="b q c"}
%1: [1] = constant {values=[0.5]}
%2: [h 4, w 3; 2] = parameter {name="map", shape=[4, 3, 2], layout="h w c"}
%3 = sample %0, %1, %2 {axes=[h, w], heads=[], levels=[], over=[], coordinates=centres, padding=zeros, normalize=none}`,
    `%0: [b, q 3, head 2, level 2, point 3; 2] = input {name="at", layout="b q head level point c"}
%1: [1] = constant {values=[0]}
%2: [b, q 3; 8] = input {name="query", layout="b q c"}
%3: [b, h 4, w 3; 8] = input {name="key0", layout="b h w c"}
%4: [b, h 1, w 2; 8] = input {name="key1", layout="b h w c"}
%5: [b, h 4, w 3; 6] = input {name="x", layout="b h w c"}
%6: [b, h 1, w 2; 6] = input {name="y", layout="b h w c"}
%7 = sample %0, %1, %2, %3, %4, %5, %6 {axes=[w, h], heads=[head], levels=[level], over=[point], coordinates=pixels, padding=zeros, normalize=softmax, scale=0.5}`,
  ],
  grid: [`%0: [b, prefix 1, h 3; 2] = input {name="x", layout="b (prefix | h) c"}\n%1 = grid %0`],
  prefix: [`%0: [b, prefix 2 over t, t 2, h 3; 2] = input {name="x", layout="b t (prefix | h) c"}\n%1 = prefix %0`],
  withPrefix: [
    `%0: [b, t 2, h 3; 2] = input {name="x", layout="b t h c"}
%1: [t 2, axis prefix 2; 2] = parameter {name="p", shape=[2, 2, 2], layout="t prefix c"}
%2 = withPrefix %0, %1`,
  ],
  repeatPrefix: [
    `%0: [b, prefix 2 over h, t 2, h 3; 2] = input {name="x", layout="b h (prefix | t) c"}\n%1 = repeatPrefix %0 {over=[t]}`,
  ],
  meanPrefix: [
    `%0: [b, prefix 2 over t h, t 2, h 3; 2] = input {name="x", layout="b t h (prefix | 1) c"}\n%1 = meanPrefix %0 {over=[t]}`,
  ],
  channels: [
    `%0: [b, prefix 1, h 3; 12] = input {name="x", layout="b (prefix | h) c"}\n%1 = channels %0 {groups=3, start=1, width=2}`,
  ],
  concat: [
    `%0: [b, prefix 1, h 3; 2] = input {name="x", layout="b (prefix | h) c"}
%1: [prefix 1, h 3; 3] = parameter {name="p", shape=[4, 3], layout="(prefix | h) c"}
%2 = concat %0, %1, %0 {over=channels}`,
    `%0: [b, h 3, w 2; 2] = input {name="x", layout="b h w c"}
%1: [h 2, w 2; 2] = parameter {name="p", shape=[2, 2, 2], layout="h w c"}
%2 = concat %0, %1 {over=axis h}`,
  ],
  merge: [`%0: [b, h 3, w 4; 2] = input {name="x", layout="b h w c"}\n%1 = merge %0 {size=[w 2, h 2]}`],
  unmerge: [`%0: [b, h 3, w 2; 12] = input {name="x", layout="b h w c"}\n%1 = unmerge %0 {size=[w 2, h 3]}`],
  pad: [
    `%0: [b, prefix 1, h 3, w 4; 2] = input {name="x", layout="b (prefix | h w) c"}\n%1 = pad %0 {before=[h 1], after=[w -2, h 2]}`,
  ],
  unpack: [`%0: [b, h 3; 12] = input {name="x", layout="b h c"}\n%1 = unpack %0 {sizes=[head 2, point 3]}`],
  pack: [`%0: [b, h 3, t 2, w 2; 2] = input {name="x", layout="b h t w c"}\n%1 = pack %0 {axes=[w, h]}`],
  rename: [
    `%0: [b, prefix 1 over h, h 3, w 2; 2] = input {name="x", layout="b h (prefix | w) c"}\n%1 = rename %0 {axes=[h w, w h]}`,
  ],
  expand: [
    `%0: [b, prefix 1, h 3; 2] = input {name="x", layout="b (prefix | h) c"}\n%1 = expand %0 {sizes=[t 2, m 2]}`,
  ],
  slice: [
    `%0: [b, prefix 1, t 5, h 3; 2] = input {name="x", layout="b (prefix | t h) c"}\n%1 = slice %0 {axis=t, start=1, step=2, size=2}`,
  ],
  resize: [
    `%0: [b, prefix 1, h 3, w 2; 2] = input {name="x", layout="b (prefix | h w) c"}\n%1 = resize %0 {to=[h 5], mode=nearest, alignCorners=false}`,
    `%0: [b, h 3, w 2; 2] = input {name="x", layout="b h w c"}\n%1 = resize %0 {to=[h 6, w 5], mode=bilinear, alignCorners=false}`,
    `%0: [b, h 3, w 4; 2] = input {name="x", layout="b h w c"}\n%1 = resize %0 {to=[w 7, h 2], mode=bicubic, alignCorners=true}`,
  ],
};
