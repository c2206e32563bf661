import { keysOf, valueAt } from './explain.ts';
import { type PathFault, quote } from './problem.ts';
import { create as createSchema } from './schema.ts';
import { identityTemplate, patternFault, patternOf, patternsOverlap, templateFault } from './subjects.ts';

/** What a server would not make of `create`, or would make in vain, as far as the file shows it. Passes over what is not sound in itself. */
export function createFaults(file: unknown): PathFault[] {
  const links = valueAt(file, ['links']);
  if (typeof links !== 'object' || links === null || Array.isArray(links)) return [];
  return Object.keys(links).flatMap((name) => {
    const sink = ['links', name, 'to'];
    const create = valueAt(file, [...sink, 'create']);
    const template = valueAt(file, [...sink, 'subject']) ?? identityTemplate;
    if (typeof create !== 'object' || create === null || Array.isArray(create)) return [];
    const written = typeof template === 'string' && templateFault(template) === undefined ? template : undefined;
    const subjects = valueAt(file, [...sink, 'create', 'subjects']);
    const at = [...sink, 'create'];
    if (subjects === undefined) {
      // With a misspelt key about, what seems to be missing may be there.
      if (Object.keys(create).some((key) => !keysOf(createSchema).includes(key))) return [];
      if (written === undefined || !/^[*>]/.test(patternOf(written, '*'))) return [];
      const message = `"create" needs "subjects": the subject template ${quote(written)} does not say where they begin`;
      return [{ path: at, on: 'key', message, fix: 'add subjects: ["orders.>"], those of the source stream' }];
    }
    return Array.isArray(subjects) ? subjectFaults(subjects, [...at, 'subjects'], written) : [];
  });
}

/** Of the subjects of a stream that is to be made. */
function subjectFaults(
  subjects: readonly unknown[],
  path: PathFault['path'],
  template: string | undefined,
): PathFault[] {
  const isSound = (one: unknown): one is string => typeof one === 'string' && patternFault(one) === undefined;
  const faults = subjects.flatMap((subject, index): PathFault[] => {
    if (!isSound(subject)) return [];
    const fault = (message: string, fix: string): PathFault[] => [
      { path: [...path, index], on: 'value', message, fix },
    ];
    // nats-server 2.10 refuses a stream with ">", 2.15 with any pattern that could cover "$JS.API.>".
    if (/^(>$|\*\.)/.test(subject))
      return fault(
        `no stream can own ${quote(subject)}: subjects of the server would be in it`,
        'begin it with a word, as orders.>',
      );
    const other = subjects.slice(0, index).find((before) => isSound(before) && patternsOverlap(before, subject));
    if (other === undefined) return [];
    return fault(
      `${quote(subject)} overlaps with ${quote(String(other))}, which no server takes in one stream`,
      'keep the wider of the two, or narrow one',
    );
  });
  if (faults.length > 0 || template === undefined || subjects.length === 0 || !subjects.every(isSound)) return faults;
  const written = patternOf(template, '*');
  if (subjects.some((subject) => patternsOverlap(subject, written))) return [];
  const message = `the link writes ${quote(written)}, of which the new stream would own nothing`;
  return [{ path, on: 'key', message, fix: `let "subjects" cover it, as [${quote(written)}], or change "subject"` }];
}
