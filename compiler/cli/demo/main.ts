#!/usr/bin/env node
import { exitCodeOf, messageOf } from "../report.ts";
import { openTerminal } from "../terminal.ts";
import { demo } from "./demo.ts";

try {
  process.exitCode = await demo(openTerminal({}));
} catch (error) {
  process.stderr.write(`${messageOf(error, { colour: process.stderr.isTTY })}\n`);
  process.exitCode = exitCodeOf(error);
}
