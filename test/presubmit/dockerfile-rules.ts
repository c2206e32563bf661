/** What we want of a Dockerfile beyond that Docker can read it. */
import { lineOf, type Stage, type Step } from '../../scripts/dockerfile.ts';

/** Labels that every image has. */
const labels: readonly string[] = ['title', 'description', 'licenses', 'version', 'revision', 'base.name'].map(
  (name) => `org.opencontainers.image.${name}`,
);

const secretName = /pass(word|phrase)?|secret|token|credential|private|api_?key|^key$/i;
const secretFile = /(^|\/)(\.env|\.npmrc|.*\.(key|pem|creds|nk|p12|pfx))$|(^|\/)(certs|secrets)(\/|$)/i;

/** What is wrong, as `line N: why`. `targets` are the stages that are shipped; the last is what is built if none is named. */
export function objections(stages: readonly Stage[], targets: readonly string[]): readonly string[] {
  const found = [
    ...stages.flatMap((stage) => [...objectionsToImage(stage, stages), ...stage.steps.flatMap(objectionsToStep)]),
    ...targets.flatMap((target) => objectionsToTarget(stages, target)),
  ];
  const last = stages.at(-1);
  if (last !== undefined && last.name !== targets.at(-1)) found.push(`line ${last.line}: ${last.name} comes last`);
  return [...new Set(found)];
}

function objectionsToImage(stage: Stage, stages: readonly Stage[]): string[] {
  if (stages.slice(0, stages.indexOf(stage)).some(({ name }) => name === stage.from)) return [];
  // Podman and others have no registry that goes without saying.
  if (!/^[\w-]+(\.[\w-]+)+\//.test(stage.from)) return [`line ${stage.line}: ${stage.from} names no registry`];
  const pinned = /:\d+\.\d+\.\d+(-[\w.-]+)?$/.test(stage.from) || /@sha256:[\da-f]{64}$/.test(stage.from);
  return pinned ? [] : [`line ${stage.line}: ${stage.from} is not pinned to a full version`];
}

function objectionsToStep(step: Step): string[] {
  const { keyword, words, text } = step;
  const say = (why: string): string => `line ${step.line}: ${why}`;
  switch (keyword) {
    case 'ADD':
      return [say('ADD fetches and unpacks; write COPY')];
    case 'ONBUILD':
    case 'SHELL':
    case 'VOLUME':
      return [say(`no ${keyword}`)];
    case 'ARG':
    case 'ENV':
      return words.some((word) => secretName.test(word.split('=')[0]!)) ? [say(`a secret in ${keyword} stays`)] : [];
    case 'COPY':
      if (step.flags.has('from')) return [];
      return words.slice(0, -1).flatMap((word) => {
        if (/^\.?\/?$/.test(word)) return [say('COPY names what it copies')];
        return secretFile.test(word) ? [say(`${word} may hold a secret`)] : [];
      });
    case 'RUN':
      return [
        // Where there is no Docker they run on the machine itself.
        ...(/(^|[\s=:>"'])\//.test(text) ? [say('RUN keeps to relative paths')] : []),
        ...(/\bnpm (install|i)\b|\bnpx\b/.test(text) ? [say('npm ci takes what is locked')] : []),
        ...(/\bnpm ci\b/.test(text) && !text.includes('--ignore-scripts')
          ? [say('npm ci runs scripts of others')]
          : []),
        ...(/\b(curl|wget|sudo|apt-get|apt|apk)\b/.test(text) ? [say('images are put together from images')] : []),
      ];
    default:
      return [];
  }
}

/** A container of it must run as anybody, on a read-only root, without a shell, and say how it is. */
function objectionsToTarget(stages: readonly Stage[], target: string): string[] {
  const line = lineOf(stages, target);
  const steps = line.flatMap((stage) => stage.steps);
  const last = (keyword: string): Step | undefined => steps.findLast((step) => step.keyword === keyword);
  const lacks = (why: string): string => `${target}: ${why}`;
  const found: string[] = [];
  for (const step of steps)
    if (step.keyword === 'RUN') found.push(`line ${step.line}: RUN in an image that is shipped`);
  const [user, group] = (last('USER')?.words[0] ?? '').split(':').map(Number);
  if (!(Number(user) > 0 && Number(group) > 0)) found.push(lacks('USER is not a number other than 0, with its group'));
  for (const keyword of ['ENTRYPOINT', 'CMD'])
    if (last(keyword)?.exec !== true) found.push(lacks(`no ${keyword} as a list`));
  const entry = last('ENTRYPOINT')?.words ?? [];
  if (entry[0] !== 'node' || !/^\/.*\/dist\/main\.js$/.test(entry.at(-1) ?? ''))
    found.push(lacks('it does not start node'));
  const check = last('HEALTHCHECK');
  if (check?.exec !== true || check.words[0] !== 'node') found.push(lacks('no HEALTHCHECK as a list that starts node'));
  for (const flag of ['interval', 'timeout', 'start-period', 'retries'])
    if (check?.flags.has(flag) !== true) found.push(lacks(`HEALTHCHECK without --${flag}`));
  if (last('STOPSIGNAL')?.words[0] !== 'SIGTERM') found.push(lacks('STOPSIGNAL is not SIGTERM'));
  const said = steps.filter(({ keyword }) => keyword === 'LABEL').flatMap(({ words }) => words);
  for (const label of labels)
    if (!said.some((word) => word.startsWith(`${label}=`) && word.length > label.length + 1))
      found.push(lacks(`no label ${label}`));
  if (line[0]?.platform !== undefined) found.push(lacks('its platform is that of the one who builds'));
  return found;
}
