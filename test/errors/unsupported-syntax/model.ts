// A score that loops.
import { along, attend, type Grid, grid, Linear, model, Module } from "fovea";
import { z } from "zod";

type Clip = Grid<"t" | "h" | "w">;

class Net extends Module {
  qkv = new Linear(3 * 48);

  forward({ video }: { video: Clip }) {
    const [q, k, v] = this.qkv(video).split(3);
    const score = (s: number) => {
      let far = s;
      for (let i = 0; i < 3; i++) far += i;
      return far;
    };
    return { out: attend(q, k, v, { heads: 4, keys: along("t"), score }) };
  }
}

export default model({
  name: "net",
  config: z.strictObject({}),
  inputs: () => ({ video: grid({ t: 4, h: 8, w: 8 }, 48) }),
  module: () => new Net(),
});
