import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { clusterOfCertificate } from '../security/certs.ts';
import { checkGraph } from '../topology/check.ts';
import { groupOf } from '../topology/groups.ts';
import { type LoadedTopology, loadTopology } from '../topology/load.ts';
import type { GroupPlan, Plan } from '../topology/plan.ts';
import { inReadingOrder, type Problem, quote } from '../topology/problem.ts';

export interface LoadedFiles {
  /** By the name the user gave the file; those that could be used. */
  readonly plans: ReadonlyMap<string, Plan>;
  readonly problems: readonly Problem[];
  /** Of each file, how many there are of them. */
  readonly files: readonly string[];
  /** Files for a whole fleet (`cluster: { from: certificate }`) whose certificate is not here, and the name that was taken instead. */
  readonly standIns: ReadonlyMap<string, string>;
}

/** Loads topology files for looking at them together. One file under two names is one file, by the first of them. */
export function loadFiles(named: readonly string[]): LoadedFiles {
  const paths = named.map((file) => resolve(file));
  const files = named.filter((_, i) => paths.indexOf(paths[i] ?? '') === i);
  const standIns = new Map<string, string>();
  const loaded = new Map(files.map((file) => [file, load(file, 'some-cluster', () => standIns.set(file, ''))]));
  for (const file of standIns.keys()) {
    const others = [...loaded].flatMap(([name, one]) =>
      one.ok && (standIns.get(name) ?? name) !== '' ? one.plan : [],
    );
    const [name, best] = fleetMember(file, others);
    standIns.set(file, name);
    loaded.set(file, best);
  }
  const plans = new Map<string, Plan>();
  const problems: Problem[] = [];
  for (const [file, one] of loaded) {
    problems.push(...(one.ok ? one.warnings : problemsOf(file, one, loaded)));
    if (one.ok) plans.set(file, one.plan);
  }
  return { plans, problems, files, standIns };
}

/**
 * What is wrong with a file that cannot be used. If another file is the same cluster, that is the mistake, and what follows from it is
 * left out. Two files that can be used are compared with the whole graph.
 */
function problemsOf(
  file: string,
  one: LoadedTopology & { readonly ok: false },
  loaded: ReadonlyMap<string, LoadedTopology>,
): readonly Problem[] {
  const { named, problems } = one;
  if (named === undefined) return problems;
  const files = [...loaded];
  const isNamesake = ([, other]: (typeof files)[number]): boolean =>
    other !== one && (other.ok ? other.plan.cluster : other.named?.cluster) === named.cluster;
  // Of several that cannot be used, each names one before it.
  const before = files.slice(0, [...loaded.keys()].indexOf(file));
  const namesake = before.find(isNamesake) ?? files.find((entry) => entry[1].ok && isNamesake(entry));
  if (namesake === undefined) return problems;
  const { cluster, line, column } = named;
  const message = `${namesake[0]} is the cluster ${quote(cluster)}, too`;
  const fix = 'give one of them another name';
  const follows = [`${quote(cluster)} is this cluster`, 'neither end of the link '];
  const own = problems.filter((problem) => !follows.some((start) => problem.message.startsWith(start)));
  return inReadingOrder([{ severity: 'error', file, line, column, message, fix }, ...own]);
}

/** Loads a file; one that has its name in a certificate that is not on this machine gets a stand-in. */
function load(file: string, name: string, taken: () => void): LoadedTopology {
  return loadTopology(file, {
    clusterOf: (certificate, trustDomain) => {
      if (existsSync(certificate)) return clusterOfCertificate(certificate, trustDomain);
      taken();
      return { cluster: name };
    },
  });
}

/** The file of a fleet under the name of a member, as the groups of the other files have them: the one that fits best. */
function fleetMember(file: string, others: readonly Plan[]): [name: string, loaded: LoadedTopology] {
  const names = others.flatMap((plan) => plan.groups.flatMap((group) => memberName(plan, group, others) ?? []));
  const tried = [...new Set([...names, 'some-cluster'])].map((name): [string, LoadedTopology, number] => {
    const loaded = load(file, name, () => undefined);
    return [name, loaded, loaded.ok ? checkGraph([...others, loaded.plan]).length : loaded.problems.length];
  });
  const [name, loaded] = tried.toSorted(([, , a], [, , b]) => a - b)[0]!;
  return [name, loaded];
}

/** A name of the group that no other file has. */
function memberName(plan: Plan, group: GroupPlan, others: readonly Plan[]): string | undefined {
  const expected = typeof group.expect === 'object' ? group.expect : [];
  const made = Array.from({ length: 100 }, (_, i) => group.match.replaceAll('*', String(i + 1)));
  return [...expected, ...made].find(
    (name) =>
      name.length <= 32 && groupOf(plan, name)?.name === group.name && others.every((other) => other.cluster !== name),
  );
}
