import type { LoopEnd } from "../../ir/program.ts";
import type { Build } from "../../runtime/artefact.ts";
import type { Profile } from "../../runtime/profile.ts";
import type { NumberArrays } from "./arrays.ts";

/** A network with its weights on something that runs it. */
export type Runner = Disposable & {
  readonly kind: "cuda" | "emulated" | "evaluator";
  /** What it runs on, for people. */
  readonly device: string;
  /** Launches of one run; null where nothing is launched. */
  readonly kernels: number | null;
  /** Outputs, and what else is kept, by name. The batch is that of the inputs. Says how the network's loop ended, if it has one. */
  readonly run: (inputs: NumberArrays, loopEnded?: (end: LoopEnd) => void) => Promise<NumberArrays>;
  /** Where the time of a run goes, launch by launch; null where nothing is launched. */
  readonly profile: ((inputs: NumberArrays) => Promise<Profile>) | null;
  /** What it launches; null where nothing is launched. */
  readonly build: Build | null;
};
