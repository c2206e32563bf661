/** A Dockerfile as plain data: stages and their steps, with variables put in. For its lint and for image-folder.ts. */
import { DockerfileParser, type Flag, type From, type Instruction } from 'dockerfile-ast';

export interface Step {
  /** In capitals. */
  readonly keyword: string;
  /** From 1. */
  readonly line: number;
  readonly flags: ReadonlyMap<string, readonly string[]>;
  /** Arguments without flags; of the exec form the strings themselves. */
  readonly words: readonly string[];
  /** `["a", "b"]`: started as it is. Else a line for a shell, where the instruction has commands. */
  readonly exec: boolean;
  /** Everything after the flags, with lines joined and without variables put in. */
  readonly text: string;
}

export interface Stage {
  readonly name: string;
  /** An earlier stage or an image. */
  readonly from: string;
  readonly line: number;
  readonly platform?: string;
  readonly steps: readonly Step[];
}

/** Stages in the order of the file. Throws on one without a name: the rest could only be said by counting. */
export function readStages(text: string): readonly Stage[] {
  const stages: (Stage & { readonly steps: Step[] })[] = [];
  for (const instruction of DockerfileParser.parse(text).getInstructions()) {
    const keyword = instruction.getKeyword();
    const stage = stages.at(-1);
    if (keyword === 'FROM') stages.push({ ...readFrom(instruction as From), steps: [] });
    else if (stage !== undefined) stage.steps.push(readStep(instruction));
    else if (keyword !== 'ARG') throw new Error(`${keyword} before the first FROM`);
  }
  return stages;
}

/** A stage with all that it stands on, from the image at the bottom to itself. Throws if there is no such stage. */
export function lineOf(stages: readonly Stage[], name: string): readonly Stage[] {
  const stage = stages.find((one) => one.name === name);
  if (stage === undefined) throw new Error(`no stage ${name}`);
  const below = stages.slice(0, stages.indexOf(stage));
  return below.some((one) => one.name === stage.from) ? [...lineOf(below, stage.from), stage] : [stage];
}

function readFrom(from: From): Omit<Stage, 'steps'> {
  const line = lineNumber(from);
  const name = from.getBuildStage();
  const image = from.getExpandedArguments()[0]?.getValue();
  if (name === null || image === undefined) throw new Error(`line ${line}: FROM without an image or AS`);
  const platform = from.getPlatformFlag()?.getValue() ?? undefined;
  return { name, from: image, line, ...(platform === undefined ? {} : { platform }) };
}

function readStep(instruction: Instruction): Step {
  const keyword = instruction.getKeyword();
  const text = (instruction.getArgumentsContent() ?? '').trim();
  const json = execForm(keyword, text);
  const words = json ?? instruction.getExpandedArguments().map((argument) => argument.getValue());
  return { keyword, line: lineNumber(instruction), flags: flagsOf(instruction), words, exec: json !== undefined, text };
}

/** The strings of the exec form. Docker takes what is not quite JSON for a line of the shell, and so do we. */
function execForm(keyword: string, text: string): readonly string[] | undefined {
  const list = keyword === 'HEALTHCHECK' ? text.replace(/^CMD\s+/, '') : text;
  if (!['RUN', 'CMD', 'ENTRYPOINT', 'HEALTHCHECK', 'COPY', 'SHELL'].includes(keyword) || !list.startsWith('[')) {
    return undefined;
  }
  try {
    return JSON.parse(list) as readonly string[];
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function flagsOf(instruction: Instruction): ReadonlyMap<string, readonly string[]> {
  const flags = new Map<string, readonly string[]>();
  // Instructions without flags have no such method.
  const found = (instruction as Partial<{ getFlags(): readonly Flag[] }>).getFlags?.() ?? [];
  for (const flag of found) flags.set(flag.getName(), [...(flags.get(flag.getName()) ?? []), flag.getValue() ?? '']);
  return flags;
}

function lineNumber(instruction: Instruction): number {
  return instruction.getRange().start.line + 1;
}
