// A window without height.
import { attend, type Grid, grid, Linear, model, Module, window } from "fovea";
import { z } from "zod";

type Clip = Grid<"t" | "h" | "w">;

class Net extends Module {
  qkv = new Linear(3 * 48);

  forward({ video }: { video: Clip }) {
    const [q, k, v] = this.qkv(video).split(3);
    return { out: attend(q, k, v, { heads: 4, keys: window({ h: 0, w: 4 }) }) };
  }
}

export default model({
  name: "net",
  config: z.strictObject({}),
  inputs: () => ({ video: grid({ t: 4, h: 8, w: 8 }, 48) }),
  module: () => new Net(),
});
