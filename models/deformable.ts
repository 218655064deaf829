/** Deformable attention of several systems: each network is checked against published numbers by itself. */
import { system } from "fovea";
import { datEntries } from "./dat.ts";
import { detrEntries } from "./deformableDetr.ts";
import { dvtEntries } from "./deformableVideoTransformer.ts";

export default system({ name: "deformable", entries: { ...detrEntries, ...datEntries, ...dvtEntries } });
