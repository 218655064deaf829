import { joinedLaunch, meet, shareOperands } from "./joinedLaunch.ts";
import type { JointKernel, JointPart } from "./kernels.ts";
import type { Launch } from "./lower/context.ts";
import { chooseForm } from "./sampleForm.ts";
import type { Target } from "./target.ts";

/**
 * Launches samplings together that read nothing of each other, and a perceptron with one: what lies at some points, and
 * what their places add to scores. Either takes hardly longer than a launch does.
 *
 * Before: `y = sample(x, p); kv = y W; z = sample(table, p)`     After: `y = sample(x, p) and z = sample(table, p); kv = y W`
 */
export const joinSamples = (launches: readonly Launch[], target: Target): readonly Launch[] => {
  let current = launches;
  for (let first = 0; first < current.length; first++) {
    const pair = pairFrom(current, first, target);
    if (pair === null) continue;
    const { second, at } = pair;
    const joined = [current[first], current[second]].flatMap((each) => each ?? []);
    current = current.flatMap((launch, i) => (i === at ? [together(joined)] : i === first || i === second ? [] : [launch]));
  }
  return current;
}; // prettier-ignore

/** The next launch that can share that of `first`, and the place of one of them that both can have. */
const pairFrom = (
  launches: readonly Launch[],
  first: number,
  target: Target,
): { readonly second: number; readonly at: number } | null => {
  const one = launches[first];
  if (one === undefined || partOf(one, target) === null) return null;
  for (let second = first + 1; second < launches.length; second++) {
    const other = launches[second];
    if (other === undefined || other.stage !== one.stage || partOf(other, target) === null) continue;
    if (one.kernel.kind !== "sample" && other.kernel.kind !== "sample") continue;
    const between = launches.slice(first + 1, second);
    if (meet(one, other)) continue;
    if (between.every((each) => !meet(each, other))) return { second, at: first };
    if (between.every((each) => !meet(one, each))) return { second, at: second };
  }
  return null;
};

const partOf = ({ kernel }: Launch, target: Target): JointPart["kernel"] | null => {
  if (kernel.kind === "perceptron") return kernel;
  return kernel.kind === "sample" && kernel.scores === null && chooseForm(kernel, target).kind === "gather"
    ? kernel
    : null;
};

const together = (members: readonly Launch[]): Launch => {
  const { operands, sources, numbersOf } = shareOperands();
  const parts = members.flatMap((member): JointPart[] => {
    const { kernel } = member;
    return kernel.kind === "sample" || kernel.kind === "perceptron" ? [{ kernel, operands: numbersOf(member) }] : [];
  });
  const [first] = parts;
  if (first === undefined) throw new Error("internal: nothing to launch together");
  const kernel: JointKernel = { kind: "joint", precision: first.kernel.precision, operands, parts };
  return joinedLaunch(members, kernel, sources);
};
