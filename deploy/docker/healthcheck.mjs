// HEALTHCHECK of the image: asks the daemon beside it and ends with 0 or 1, as Docker wants it. What it prints is shown by
// `docker inspect`. A file of its own and without libraries, for it is started every half minute, on small machines too.
const url = process.env.CAUSEWAY_HEALTHCHECK || 'http://127.0.0.1:7444/healthz';

try {
  // Less than the timeout of HEALTHCHECK, which would say nothing but that it was too long.
  const response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(8_000) });
  process.stdout.write(await response.text());
  process.exitCode = response.ok ? 0 : 1;
} catch (error) {
  process.stdout.write(`${url} does not answer: ${error.cause?.message || error.cause?.code || error.message}\n`);
  process.exitCode = 1;
}
