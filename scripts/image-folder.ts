/**
 * Builds a target of a Dockerfile without Docker, as a folder: where there is no engine, its steps are tried all the same. Files
 * of the context are filtered by .dockerignore; each stage has a folder; COPY copies, RUN runs in a shell on this machine, with
 * this machine's Node.js and npm. It knows what our Dockerfile uses and throws on anything else.
 */
import { spawn } from 'node:child_process';
import { chmod, chown, cp, lstat, mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { ignoredBy } from './docker-ignore.ts';
import { readStages, type Stage, type Step } from './dockerfile.ts';

export interface ImageOptions {
  /** Folder with Dockerfile and .dockerignore. */
  readonly context: string;
  /** Where stages go; empty. */
  readonly dir: string;
  /** Files of images that are not built here: path in the image by path on this machine. */
  readonly files: (image: string) => Readonly<Record<string, string>>;
  /** Of one RUN. */
  readonly runLimitMs: number;
  /** Told of each step before it is done. */
  readonly onStep?: (stage: string, step: Step) => void;
}

/** What an image says of the container to be. */
export interface ImageConfig {
  readonly workdir: string;
  readonly env: Readonly<Record<string, string>>;
  readonly user?: string;
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly healthcheck: readonly string[];
  readonly stopSignal: string;
}

export interface Image {
  /** Its files: `/app` is `ROOT/app`. */
  readonly root: string;
  readonly config: ImageConfig;
}

const emptyConfig: ImageConfig = {
  workdir: '/',
  env: {},
  entrypoint: [],
  cmd: [],
  healthcheck: [],
  stopSignal: 'SIGTERM',
};

/** Says nothing of what is built: no file, no variable. */
const silent = ['ARG', 'LABEL', 'EXPOSE'];

/** Targets of one Dockerfile; stages that they share are built once. */
export class ImageFolders {
  readonly #options: ImageOptions;
  readonly #built = new Map<string, Promise<Image>>();
  #stages: readonly Stage[] | undefined;
  #ignored: (path: string) => boolean = () => false;

  constructor(options: ImageOptions) {
    this.#options = options;
  }

  async build(target: string): Promise<Image> {
    const { context } = this.#options;
    this.#ignored = ignoredBy(await readFile(join(context, '.dockerignore'), 'utf8'));
    this.#stages ??= readStages(await readFile(join(context, 'Dockerfile'), 'utf8'));
    return await this.#stage(target);
  }

  #stage(name: string): Promise<Image> {
    const stage = this.#stages?.find((one) => one.name === name);
    if (stage === undefined) throw new Error(`no stage ${name}`);
    const built = this.#built.get(name) ?? this.#buildStage(stage);
    this.#built.set(name, built);
    return built;
  }

  async #buildStage(stage: Stage): Promise<Image> {
    const root = join(this.#options.dir, stage.name);
    let config = emptyConfig;
    if (this.#stages?.some(({ name }) => name === stage.from)) {
      const base = await this.#stage(stage.from);
      if (stage.steps.length === 0) return base;
      await cp(base.root, root, { recursive: true, verbatimSymlinks: true });
      config = base.config;
    } else {
      for (const [path, file] of Object.entries(this.#options.files(stage.from))) await cp(file, join(root, path));
    }
    for (const step of stage.steps) {
      this.#options.onStep?.(stage.name, step);
      config = await this.#step(root, config, step);
    }
    return { root, config };
  }

  async #step(root: string, config: ImageConfig, step: Step): Promise<ImageConfig> {
    const { keyword, words } = step;
    switch (keyword) {
      case 'WORKDIR':
        await mkdir(join(root, words[0]!), { recursive: true });
        return { ...config, workdir: words[0]! };
      case 'COPY':
        await this.#copy(root, config, step);
        return config;
      case 'RUN':
        await runShell(step, join(root, config.workdir), config.env, this.#options.runLimitMs);
        return config;
      case 'ENV':
        return { ...config, env: { ...config.env, ...Object.fromEntries(words.map(pair)) } };
      case 'USER':
        return { ...config, user: words[0]! };
      case 'ENTRYPOINT':
        return { ...config, entrypoint: execOnly(step) };
      case 'CMD':
        return { ...config, cmd: execOnly(step) };
      case 'HEALTHCHECK':
        return { ...config, healthcheck: execOnly(step) };
      case 'STOPSIGNAL':
        return { ...config, stopSignal: words[0]! };
      default:
        if (silent.includes(keyword)) return config;
        throw new Error(`line ${step.line}: ${keyword} is not known here`);
    }
  }

  async #copy(root: string, config: ImageConfig, step: Step): Promise<void> {
    const { words, flags } = step;
    const stray = [...flags.keys()].filter((flag) => !['from', 'chown', 'chmod'].includes(flag));
    if (stray.length > 0) throw new Error(`line ${step.line}: COPY --${stray[0]} is not known here`);
    const [[stage], [owner], [mode]] = [flags.get('from') ?? [], flags.get('chown') ?? [], flags.get('chmod') ?? []];
    const from = stage === undefined ? this.#options.context : (await this.#stage(stage)).root;
    const keep = (file: string): boolean =>
      stage !== undefined || !this.#ignored(relative(from, file).split(sep).join('/'));
    const named = words.at(-1)!;
    const to = join(root, named.startsWith('/') ? '' : config.workdir, named);
    for (const word of words.slice(0, -1)) {
      const source = join(from, word);
      const isFile = (await stat(source)).isFile();
      if (isFile && !keep(source)) throw new Error(`line ${step.line}: .dockerignore leaves out ${word}`);
      if (!isFile && mode !== undefined) throw new Error(`line ${step.line}: --chmod of a folder is not known here`);
      // Of a folder the contents are copied, a file as itself.
      const target = isFile && named.endsWith('/') ? join(to, basename(source)) : to;
      await mkdir(dirname(target), { recursive: true });
      await cp(source, target, {
        recursive: true,
        verbatimSymlinks: true,
        filter: async (file) => (await lstat(file)).isDirectory() || keep(file),
      });
      if (mode !== undefined) await chmod(target, Number.parseInt(mode, 8));
    }
    if (owner !== undefined && process.getuid?.() === 0) await give(to, owner);
  }
}

async function give(path: string, owner: string): Promise<void> {
  const [uid, gid] = owner.split(':').map(Number);
  await chown(path, uid!, gid!);
  for (const entry of await readdir(path, { recursive: true })) await chown(join(path, entry), uid!, gid!);
}

function pair(word: string): readonly [string, string] {
  const at = word.indexOf('=');
  if (at < 1) throw new Error(`${word}: write NAME=VALUE`);
  return [word.slice(0, at), word.slice(at + 1)];
}

function execOnly(step: Step): readonly string[] {
  if (!step.exec) throw new Error(`line ${step.line}: ${step.keyword} needs a shell; write it as a list`);
  return step.words;
}

/** Of the npm that may have started us, nested ones would take the wrong folder. */
const npmOwn = /^npm_(package_|lifecycle_|command$|config_local_prefix$)/;

async function runShell(
  step: Step,
  cwd: string,
  variables: Readonly<Record<string, string>>,
  limitMs: number,
): Promise<void> {
  for (const [flag, values] of step.flags) {
    // A cache and a secret may be missing; of a bind mount the step would need the files.
    const harmless = flag === 'mount' && values.every((value) => /(^|,)type=(cache|secret)(,|$)/.test(value));
    if (!harmless) throw new Error(`line ${step.line}: RUN --${flag} is not known here`);
  }
  if (step.exec) throw new Error(`line ${step.line}: RUN as a list is not known here`);
  const inherited = Object.entries(process.env).filter(([name]) => !npmOwn.test(name) && name !== 'NODE_ENV');
  const env: NodeJS.ProcessEnv = {
    ...Object.fromEntries(inherited),
    PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
    // What this machine has fetched before need not be asked for again.
    npm_config_prefer_offline: 'true',
    ...variables,
  };
  const child = spawn('/bin/sh', ['-c', step.text], {
    cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: limitMs,
    killSignal: 'SIGKILL',
  });
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => output.push(chunk));
  const end = await new Promise<number | NodeJS.Signals | null>((done, failed) => {
    child.once('error', failed);
    child.once('close', (code, signal) => done(code ?? signal));
  });
  if (end !== 0) throw new Error(`line ${step.line}: ${step.text}\nended with ${end}:\n${Buffer.concat(output)}`);
}
