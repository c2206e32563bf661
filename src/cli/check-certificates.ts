import { certificateFault } from '../security/certs.ts';
import type { Plan } from '../topology/plan.ts';
import { problemAt } from '../topology/positions.ts';
import type { Problem } from '../topology/problem.ts';

/**
 * Why a daemon with this Plan would not take the files under `tls` into use, at the option that names the file. Warnings: the files
 * on this machine are not always those of the daemon, and may be renewed before it starts. Nothing is said of files that are not here.
 */
export function checkCertificateFiles(plan: Plan): Problem[] {
  const { cluster, trustDomain, tls } = plan;
  const fault = certificateFault(tls, { cluster, trustDomain });
  if (fault === undefined) return [];
  const { option, failure } = fault;
  const message = `tls.${option}: ${failure.reason}: ${failure.detail}`;
  const fix = 'the daemon does not start with it: put the right file in its place, or name another';
  return [problemAt(plan, ['tls', option], { severity: 'warning', message, fix }, 'value')];
}
