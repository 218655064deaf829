import { describe, expect, test } from "vitest";
import type { Pass } from "../../compiler/passes/rewrite.ts";
import { foldConstantTerms } from "../../compiler/passes/foldConstantTerms.ts";
import { foldLinears } from "../../compiler/passes/foldLinears.ts";
import { foldNorms } from "../../compiler/passes/foldNorms.ts";
import { fusePointwise } from "../../compiler/passes/fusePointwise.ts";
import { joinLinears } from "../../compiler/passes/joinLinears.ts";
import { hoistMeans } from "../../compiler/passes/hoistMeans.ts";
import { hoistTokenViews } from "../../compiler/passes/hoistTokenViews.ts";
import { simplifyViews } from "../../compiler/passes/simplifyViews.ts";
import { sinkRepeats } from "../../compiler/passes/sinkRepeats.ts";
import { splitConstantTokens } from "../../compiler/passes/splitConstantTokens.ts";
import type { Graph } from "../../ir/graph.ts";
import { parseGraph } from "../../ir/parse.ts";
import { printGraph } from "../../ir/print.ts";
import { problemsOf } from "../../ir/verify.ts";
import { sameMeaning } from "../support/sameMeaning.ts";

const graphOf = (text: string): Graph => parseGraph(`graph "g"\n${text.trim().replaceAll(/^\s+/gm, "")}\n`);

/** What a pass makes of a graph: its text. The meaning must be the same, and the graph valid. */
const after = (pass: Pass, text: string): string => {
  const before = graphOf(text);
  const graph = pass.run(before);
  expect(problemsOf(graph)).toEqual([]);
  sameMeaning(before, graph);
  return printGraph(graph);
};

/** A graph that a pass must leave as it is: the very same object. */
const untouched = (pass: Pass, text: string): void => {
  const graph = graphOf(text);
  expect(pass.run(graph)).toBe(graph);
};

const x = `%0: [b, prefix 1, t 2, h 3; 4] = input {name="x", layout="b (prefix | t h) c"}`;
const repeated = `%0: [b, prefix 1 over t, t 2, h 3; 4] = input {name="x", layout="(b t) (prefix | h) c"}`;
const grid = `%0: [b, h 3; 4] = input {name="x", layout="b h c"}`;
const vector = (id: number, name: string): string => `%${id}: [4] = parameter {name="${name}", shape=[4], layout="c"}`;
const weight = (id: number, name: string): string =>
  `%${id}: [out 4; 4] = parameter {name="${name}", shape=[4, 4], layout="out c"}`;

describe("simplifyViews", () => {
  const classToken = `%1: [axis prefix 1; 4] = parameter {name="class", shape=[1, 1, 4], layout="1 prefix c"}`;
  test("takes apart what was just put together", () => {
    expect(
      after(
        simplifyViews,
        `${grid}
         ${classToken}
         %2 = withPrefix %0, %1
         %3 = grid %2
         %4 = prefix %2
         %5 = withPrefix %3, %4
         output "y" = %5 "b (prefix | h) c"`,
      ),
    ).toMatchInlineSnapshot(`
      "graph "g"
      %0: [b, h 3; 4] = input {name="x", layout="b h c"}
      %1: [axis prefix 1; 4] = parameter {name="class", shape=[1, 1, 4], layout="1 prefix c"}
      %2: [b, prefix 1, h 3; 4] = withPrefix %0, %1
      output "y" = %2 "b (prefix | h) c"
      "
    `);
  });
  test("gives the caller a token for each example, be they all the same", () =>
    untouched(
      simplifyViews,
      `${grid}\n${classToken}\n%2 = withPrefix %0, %1\n%3 = prefix %2\noutput "y" = %3 "b prefix c"`,
    ));
  test("leaves tokens that came together", () =>
    untouched(simplifyViews, `${x}\n%1 = grid %0\noutput "y" = %1 "b t h c"`));
});

describe("splitConstantTokens", () => {
  test("computes on a learned token apart from the grid", () => {
    expect(
      after(
        splitConstantTokens,
        `${grid}
         %1: [axis prefix 1; 4] = parameter {name="class", shape=[1, 1, 4], layout="1 prefix c"}
         %2 = withPrefix %0, %1
         %3: [prefix 1, h 3; 4] = parameter {name="position", shape=[1, 4, 4], layout="1 (prefix | h) c"}
         %4 = pointwise %2, %3 {body=$0 + $1}
         output "y" = %4 "b (prefix | h) c"`,
      ),
    ).toMatchInlineSnapshot(`
      "graph "g"
      %0: [b, h 3; 4] = input {name="x", layout="b h c"}
      %1: [axis prefix 1; 4] = parameter {name="class", shape=[1, 1, 4], layout="1 prefix c"}
      %2: [prefix 1, h 3; 4] = parameter {name="position", shape=[1, 4, 4], layout="1 (prefix | h) c"}
      %3: [h 3; 4] = grid %2
      %4: [b, h 3; 4] = pointwise %0, %3 {body=$0 + $1}
      %5: [axis prefix 1; 4] = prefix %2
      %6: [axis prefix 1; 4] = pointwise %1, %5 {body=$0 + $1}
      %7: [b, prefix 1, h 3; 4] = withPrefix %4, %6
      output "y" = %7 "b (prefix | h) c"
      "
    `);
  });
});

describe("hoistTokenViews", () => {
  const head = (view: string): string => `${x}
    %1 = normalize %0 {eps=0.000001, groups=1, axes=[]}
    ${vector(2, "bias")}
    %3 = pointwise %1, %2 {body=$0 + $1}
    ${weight(4, "head")}
    %5 = linear %3, %4
    %6 = ${view} %5`;
  test("computes a head on the class token alone", () => {
    expect(after(hoistTokenViews, `${head("prefix")}\noutput "y" = %6 "b prefix c"`)).toMatchInlineSnapshot(`
      "graph "g"
      %0: [b, prefix 1, t 2, h 3; 4] = input {name="x", layout="b (prefix | t h) c"}
      %1: [4] = parameter {name="bias", shape=[4], layout="c"}
      %2: [out 4; 4] = parameter {name="head", shape=[4, 4], layout="out c"}
      %3: [b, axis prefix 1; 4] = prefix %0
      %4: [b, axis prefix 1; 4] = normalize %3 {eps=0.000001, groups=1, axes=[]}
      %5: [b, axis prefix 1; 4] = pointwise %4, %1 {body=$0 + $1}
      %6: [b, axis prefix 1; 4] = linear %5, %2
      output "y" = %6 "b prefix c"
      "
    `);
  });
  test("computes for all tokens where others are read too", () =>
    untouched(
      hoistTokenViews,
      `${head("prefix")}\noutput "y" = %6 "b prefix c"\noutput "all" = %5 "b (prefix | t h) c"`,
    ));
  test("averages the frames of the class token alone", () => {
    expect(
      after(
        hoistTokenViews,
        `${repeated}\n%1 = reduce %0 {kind=mean, axes=[t]}\n%2 = prefix %1\noutput "y" = %2 "b prefix c"`,
      ),
    ).toMatchInlineSnapshot(`
      "graph "g"
      %0: [b, prefix 1 over t, t 2, h 3; 4] = input {name="x", layout="(b t) (prefix | h) c"}
      %1: [b, t 2, axis prefix 1; 4] = prefix %0
      %2: [b, axis prefix 1; 4] = reduce %1 {kind=mean, axes=[t]}
      output "y" = %2 "b prefix c"
      "
    `);
  });
});

describe("sinkRepeats", () => {
  test("normalises and projects a repeated token once", () => {
    expect(
      after(
        sinkRepeats,
        `${x}
         %1 = repeatPrefix %0 {over=[t]}
         %2 = normalize %1 {eps=0.00001, groups=1, axes=[]}
         ${vector(3, "scale")}
         %4 = pointwise %2, %3 {body=$0 * $1}
         ${weight(5, "qkv")}
         %6 = linear %4, %5
         output "y" = %6 "(b t) (prefix | h) c"`,
      ),
    ).toMatchInlineSnapshot(`
      "graph "g"
      %0: [b, prefix 1, t 2, h 3; 4] = input {name="x", layout="b (prefix | t h) c"}
      %1: [b, prefix 1, t 2, h 3; 4] = normalize %0 {eps=0.00001, groups=1, axes=[]}
      %2: [4] = parameter {name="scale", shape=[4], layout="c"}
      %3: [b, prefix 1, t 2, h 3; 4] = pointwise %1, %2 {body=$0 * $1}
      %4: [out 4; 4] = parameter {name="qkv", shape=[4, 4], layout="out c"}
      %5: [b, prefix 1, t 2, h 3; 4] = linear %3, %4
      %6: [b, prefix 1 over t, t 2, h 3; 4] = repeatPrefix %5 {over=[t]}
      output "y" = %6 "(b t) (prefix | h) c"
      "
    `);
  });
});

describe("hoistMeans", () => {
  const projected = `${repeated}
    ${weight(1, "proj")}
    %2 = linear %0, %1
    ${vector(3, "bias")}
    %4 = pointwise %2, %3 {body=$0 + $1}
    %5 = meanPrefix %4 {over=[t]}`;
  test("averages before an affine map", () => {
    expect(after(hoistMeans, `${projected}\noutput "y" = %5 "b (prefix | t h) c"`)).toMatchInlineSnapshot(`
      "graph "g"
      %0: [b, prefix 1 over t, t 2, h 3; 4] = input {name="x", layout="(b t) (prefix | h) c"}
      %1: [out 4; 4] = parameter {name="proj", shape=[4, 4], layout="out c"}
      %2: [4] = parameter {name="bias", shape=[4], layout="c"}
      %3: [b, prefix 1, t 2, h 3; 4] = meanPrefix %0 {over=[t]}
      %4: [b, prefix 1, t 2, h 3; 4] = linear %3, %1
      %5: [b, prefix 1, t 2, h 3; 4] = pointwise %4, %2 {body=$0 + $1}
      output "y" = %5 "b (prefix | t h) c"
      "
    `);
  });
  test("averages behind it where it is read as it stands", () =>
    untouched(
      hoistMeans,
      `${projected}\noutput "y" = %5 "b (prefix | t h) c"\noutput "z" = %4 "(b t) (prefix | h) c"`,
    ));
});

describe("foldLinears", () => {
  const chain = (between: string): string => `${grid}
    ${weight(1, "proj.weight")}
    %2 = linear %0, %1
    ${vector(3, "proj.bias")}
    %4 = pointwise %2, %3 {body=${between}}
    ${weight(5, "fc.weight")}
    %6 = linear %4, %5
    output "y" = %6 "b h c"`;
  test("multiplies the weights of layers that follow one another", () => {
    expect(after(foldLinears, chain("$0 + $1"))).toMatchInlineSnapshot(`
      "graph "g"
      %0: [b, h 3; 4] = input {name="x", layout="b h c"}
      %1: [out 4; 4] = parameter {name="proj.weight", shape=[4, 4], layout="out c"}
      %2: [4] = parameter {name="proj.bias", shape=[4], layout="c"}
      %3: [out 4; 4] = parameter {name="fc.weight", shape=[4, 4], layout="out c"}
      %4: [out 4, in 4; 1] = unpack %1 {sizes=[in 4]}
      %5: [in 4; 4] = pack %4 {axes=[out]}
      %6: [out 4; 4] = rename %5 {axes=[in out]}
      %7: [out 4; 4] = linear %3, %6
      %8: [b, h 3; 4] = linear %0, %7
      %9: [4] = linear %2, %3
      %10: [b, h 3; 4] = pointwise %8, %9 {body=$0 + $1}
      output "y" = %10 "b h c"
      "
    `);
  });
  test("does not see through an activation", () => untouched(foldLinears, chain("max($0 + $1, 0)")));
  test("leaves two layers that are less work than one", () =>
    untouched(
      foldLinears,
      `${grid}
       %1: [out 1; 4] = parameter {name="down", shape=[1, 4], layout="out c"}
       %2 = linear %0, %1
       %3: [out 8; 1] = parameter {name="up", shape=[8, 1], layout="out c"}
       %4 = linear %2, %3
       output "y" = %4 "b h c"`,
    ));
});

describe("foldNorms", () => {
  const normed = `${grid}
    %1 = normalize %0 {eps=0.000001, groups=1, axes=[]}
    ${vector(2, "norm.weight")}
    ${vector(3, "norm.bias")}
    %4 = pointwise %1, %2, %3 {body=$0 * $1 + $2}
    ${weight(5, "qkv.weight")}
    %6 = linear %4, %5
    output "y" = %6 "b h c"`;
  test("moves scale and shift into the product", () => {
    expect(after(foldNorms, normed)).toMatchInlineSnapshot(`
      "graph "g"
      %0: [b, h 3; 4] = input {name="x", layout="b h c"}
      %1: [b, h 3; 4] = normalize %0 {eps=0.000001, groups=1, axes=[]}
      %2: [4] = parameter {name="norm.weight", shape=[4], layout="c"}
      %3: [4] = parameter {name="norm.bias", shape=[4], layout="c"}
      %4: [out 4; 4] = parameter {name="qkv.weight", shape=[4, 4], layout="out c"}
      %5: [out 4; 4] = pointwise %4, %2 {body=$0 * $1}
      %6: [b, h 3; 4] = linear %1, %5
      %7: [4] = linear %3, %4
      %8: [b, h 3; 4] = pointwise %6, %7 {body=$0 + $1}
      output "y" = %8 "b h c"
      "
    `);
  });
  const paddedNorm = (width: string): string => `${grid}
    %1 = normalize %0 {eps=0.000001, groups=1, axes=[]}
    ${vector(2, "norm.weight")}
    ${vector(3, "norm.bias")}
    %4 = pointwise %1, %2, %3 {body=$0 * $1 + $2}
    %5 = pad %4 {before=[], after=[h ${width}]}
    ${weight(6, "qkv.weight")}
    %7 = linear %5, %6
    output "y" = %7 "b h c"`;
  test("normalises behind a padding, whose tokens get no shift", () => {
    const text = after(foldNorms, paddedNorm("2"));
    expect(text).toContain("pad %0 {before=[], after=[h 2]}");
    expect(text).toMatch(/%(\d+).* = normalize [^]*linear %\1, /);
    expect(text).toMatch(/%(\d+): \[h 3; 4\] = expand [^]*pad %\1 /);
  });
  test("leaves a normalisation that is cut", () => untouched(foldNorms, paddedNorm("-1")));
  test("leaves a normalisation that is read as it stands", () =>
    untouched(foldNorms, `${normed}\noutput "n" = %4 "b h c"`));
});

describe("fusePointwise", () => {
  test("keeps what nothing of it is read, as it may say which axes the result has", () => {
    const text = `${grid}
                  %1 = pointwise %0 {body=3}
                  %2 = pointwise %1 {body=$0 * 2}
                  output "y" = %2 "b h c"`;
    expect(after(fusePointwise, text)).toContain("%1: [b, h 3; 4] = pointwise %0");
  });
  const chain = `${grid}
    ${vector(1, "bias")}
    %2 = pointwise %0, %1 {body=$0 + $1}
    %3 = pointwise %2 {body=$0 * tanh($0)}
    %4 = pointwise %3, %0 {body=$1 - $0}
    output "y" = %4 "b h c"`;
  test("makes one op of several", () => {
    expect(after(fusePointwise, chain)).toMatchInlineSnapshot(`
      "graph "g"
      %0: [b, h 3; 4] = input {name="x", layout="b h c"}
      %1: [4] = parameter {name="bias", shape=[4], layout="c"}
      %2: [b, h 3; 4] = pointwise %0, %1 {body=$0 - ($0 + $1) * tanh($0 + $1)}
      output "y" = %2 "b h c"
      "
    `);
  });
  test("keeps a value that is read as it stands", () => {
    expect(after(fusePointwise, `${chain}\noutput "z" = %3 "b h c"`)).toContain(`output "z"`);
  });
});

describe("foldConstantTerms", () => {
  test("adds biases up once, wherever the sum stands", () => {
    expect(
      after(
        foldConstantTerms,
        `${grid}
         ${vector(1, "bias")}
         ${vector(2, "moved")}
         %3: [h 3; 4] = parameter {name="position", shape=[3, 4], layout="h c"}
         %4 = pointwise %0, %1, %2, %3 {body=($0 + $1 + $2 + $3) * tanh($0 + $1 + $2 + $3)}
         output "y" = %4 "b h c"`,
      ),
    ).toMatchInlineSnapshot(`
      "graph "g"
      %0: [b, h 3; 4] = input {name="x", layout="b h c"}
      %1: [4] = parameter {name="bias", shape=[4], layout="c"}
      %2: [4] = parameter {name="moved", shape=[4], layout="c"}
      %3: [h 3; 4] = parameter {name="position", shape=[3, 4], layout="h c"}
      %4: [4] = pointwise %1, %2 {body=$0 + $1}
      %5: [b, h 3; 4] = pointwise %0, %3, %4 {body=($0 + $1 + $2) * tanh($0 + $1 + $2)}
      output "y" = %5 "b h c"
      "
    `);
  });
});

describe("joinLinears", () => {
  const apart = `${grid}
    ${weight(1, "query.weight")}
    %2 = linear %0, %1
    ${vector(3, "query.bias")}
    %4 = pointwise %2, %3 {body=$0 + $1}
    ${weight(5, "key.weight")}
    %6 = linear %0, %5
    ${vector(7, "key.bias")}
    %8 = pointwise %6, %7 {body=$1 + $0}
    ${weight(9, "value.weight")}
    %10 = linear %0, %9
    %11 = attend %4, %8, %10 {heads=2, scale=0.5, pattern=all, score=s, normalize=softmax}
    output "y" = %11 "b h c"`;
  test("makes one product of those that have biases", () => {
    expect(after(joinLinears, apart)).toMatchInlineSnapshot(`
      "graph "g"
      %0: [out 4; 4] = parameter {name="query.weight", shape=[4, 4], layout="out c"}
      %1: [4] = parameter {name="query.bias", shape=[4], layout="c"}
      %2: [out 4; 4] = parameter {name="key.weight", shape=[4, 4], layout="out c"}
      %3: [4] = parameter {name="key.bias", shape=[4], layout="c"}
      %4: [out 4; 4] = parameter {name="value.weight", shape=[4, 4], layout="out c"}
      %5: [b, h 3; 4] = input {name="x", layout="b h c"}
      %6: [out 8; 4] = concat %0, %2 {over=axis out}
      %7: [b, h 3; 8] = linear %5, %6
      %8: [8] = concat %1, %3 {over=channels}
      %9: [b, h 3; 8] = pointwise %7, %8 {body=$0 + $1}
      %10: [b, h 3; 4] = channels %9 {groups=1, start=0, width=4}
      %11: [b, h 3; 4] = channels %9 {groups=1, start=4, width=4}
      %12: [b, h 3; 4] = linear %5, %4
      %13: [b, h 3; 4] = attend %10, %11, %12 {heads=2, scale=0.5, pattern=all, score=s, normalize=softmax}
      output "y" = %13 "b h c"
      "
    `);
  });
  test("leaves products that something else joins", () => {
    untouched(joinLinears, apart.replace("$0 + $1", "tanh($0 + $1)"));
    untouched(joinLinears, `${apart}\noutput "q" = %4 "b h c"`);
  });
});
