// Nothing is exported by default.
import { grid } from "fovea";

export const input = grid({ h: 8, w: 8 }, 3);
