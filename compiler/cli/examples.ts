/** What people type, by command: below each command's options. Lines that begin with # say why. */
export const examples: { readonly [command: string]: readonly string[] } = {
  build: [
    "fovea build models/timesformer.ts --preset base --dtype bf16 --arch sm_80,sm_90a --weights w.pyth --out timesformer",
    "# one artefact for clips of 8 and of 16 frames, of up to 8 examples, in one file",
    "fovea build models/timesformer.ts --axis batch=1..8 --axis t=8,16 --out timesformer.fovea",
  ],
  run: [
    "fovea run models/timesformer.ts --preset base --weights w.pyth --input video=clip.mp4 --labels labels.json --top 3",
    "fovea run timesformer.fovea --weights w.pyth --input video=clips.safetensors --output logits.safetensors",
    "# clusters of points, as a picture; --axis n= for sets of another size",
    "fovea run models/deepAmortizedClustering.ts --entry ClusterLoop --config c.json --weights w.safetensors --input X=points.csv --axis n=300 --plot clusters.svg",
  ],
  inspect: [
    "fovea inspect models/timesformer.ts --stage foldNorms",
    "fovea inspect models/videoSwin.ts --pattern --svg pictures",
    "# what an artefact holds: its contract, its kernels, and the code in it for each GPU",
    "fovea inspect timesformer.fovea",
  ],
  verify: ["fovea verify test/golden/timesformer/divided-tiny --device emulated --dtype f16"],
  profile: [
    "fovea profile models/timesformer.ts --dtype bf16 --plan --sort bytes --depth 3",
    "fovea profile timesformer.fovea --axis t=16 --examples 4 --report time.html --trace time.json",
  ],
  diff: ["fovea diff before.fovea after.fovea --text", "fovea diff before after --no-counters --json"],
  "convert-weights": [
    "fovea convert-weights checkpoint.pth weights.safetensors",
    "fovea convert-weights swin.pth clips.safetensors --for models/videoSwin.ts --inflate",
  ],
  devices: [
    "fovea devices",
    "# the driver of the emulated device, for programs in C and Python",
    "fovea devices --emulator",
  ],
};

export const exampleText = (command: string): string => {
  const lines = examples[command] ?? [];
  return lines.length === 0 ? "" : `\nExamples:\n${lines.map((line) => `  ${line}`).join("\n")}`;
};
