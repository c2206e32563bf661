import { basename, resolve } from 'node:path';
import { Command } from 'commander';
import { parseCluster, parseDays, parseHost, parseTrustDomain } from './arguments.ts';
import type { Cli } from './cli.ts';

const help = `
Makes ca.crt and ca.key, unless they are there already, and CLUSTER.crt and CLUSTER.key for each cluster. A cluster is
known by the URI spiffe://TRUST-DOMAIN/CLUSTER in its certificate; host names give no identity. What exists is kept
unless --force is given; the authority is never replaced.

Meant for trials and small installations: whoever has ca.key can be any cluster. Any other authority will do that issues
certificates with such a URI, for clients and servers.

Examples:
  causeway certs --trust-domain acme hub plant-a plant-b
  causeway certs --trust-domain acme --dir /etc/causeway --host bridge.acme.example --days 90 hub
  causeway certs --trust-domain acme --force plant-a      # a new certificate in place of the old one
`;

interface CertsOptions {
  readonly trustDomain: string;
  readonly dir: string;
  readonly host?: readonly string[];
  readonly days: number;
  readonly force?: boolean;
}

/** `causeway certs`: a development authority and a certificate per cluster. */
export function certsCommand(cli: Cli): Command {
  return new Command('certs')
    .description('make a development authority and a certificate for each cluster')
    .argument('<CLUSTER...>', 'names of clusters', parseCluster)
    .requiredOption('--trust-domain <NAME>', 'the trust domain of the topology files', parseTrustDomain)
    .option('--dir <DIR>', 'where the files go', 'certs')
    .option('--host <NAME>', 'DNS name or IP address to put into the certificates; repeatable', parseHost)
    .option('--days <N>', 'validity of the certificates', parseDays, 365)
    .option('--force', 'replace certificates that exist')
    .addHelpText('after', help)
    .action(async (clusters: readonly string[], options: CertsOptions) => {
      await certs(cli, clusters, options);
    });
}

async function certs(cli: Cli, clusters: readonly string[], options: CertsOptions): Promise<void> {
  const { trustDomain, dir, host: hosts, days, force } = options;
  // The library for certificates is large; no other command needs it.
  const { writeCerts } = await import('../security/make-certs.ts');
  const result = await writeCerts(dir, {
    trustDomain,
    clusters: clusters.map((cluster) => ({ cluster, hosts })),
    days,
    force,
  });
  const made = (path: string): string => `${path} and ${basename(path, '.crt')}.key`;
  if (result.authority === 'made') cli.out(`wrote  ${made(result.ca)}  (authority of ${trustDomain})\n`);
  else cli.out(`used   ${result.ca}  (authority of ${trustDomain})\n`);
  for (const path of result.written) cli.out(`wrote  ${made(path)}  (valid for ${days} days)\n`);
  for (const path of result.kept) cli.out(`kept   ${path}  (exists; --force replaces it)\n`);
  const [first = 'hub'] = clusters;
  const folder = basename(resolve(dir));
  cli.out(`
Next:
1. Each cluster gets its own .crt and .key, and ca.crt; for ${first}: ${first}.crt, ${first}.key and ca.crt.
   ca.key stays with you: whoever has it can be any cluster.
2. The topology file of a cluster names them, by paths relative to itself. With ${folder}/ beside it, ${first} has:
     trustDomain: ${trustDomain}
     tls: { cert: ${folder}/${first}.crt, key: ${folder}/${first}.key, ca: ${folder}/ca.crt }
3. ${cli.name} check FILE... tells what is still missing.
`);
}
