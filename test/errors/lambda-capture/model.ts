// A number that is a string when the model runs.
import { type Grid, grid, model, Module, pointwise } from "fovea";
import { z } from "zod";

type Clip = Grid<"t" | "h" | "w">;

const settings = { size: JSON.parse('"8"') as number };

class Net extends Module {
  forward({ video }: { video: Clip }) {
    return { out: pointwise(video, (x) => x * settings.size) };
  }
}

export default model({
  name: "net",
  config: z.strictObject({}),
  inputs: () => ({ video: grid({ t: 4, h: 8, w: 8 }, 48) }),
  module: () => new Net(),
});
