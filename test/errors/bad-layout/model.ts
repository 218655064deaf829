// The width is left out.
import { type Grid, grid, model, Module, output } from "fovea";
import { z } from "zod";

type Clip = Grid<"t" | "h" | "w">;

class Net extends Module {
  forward({ video }: { video: Clip }) {
    return { out: output(video, "b c t h") };
  }
}

export default model({
  name: "net",
  config: z.strictObject({}),
  inputs: () => ({ video: grid({ t: 4, h: 8, w: 8 }, 48) }),
  module: () => new Net(),
});
