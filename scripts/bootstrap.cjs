// The way in for `npm start`, `npm test` and the rest. Old Node versions must be able to parse this file, or they could
// not say that they are too old: hence no const, no arrows, no templates here. Everything else is required after the check.
// biome-ignore-all lint: written for old versions of Node on purpose, see above
var needed = [20, 19];
var have = process.versions.node.split('.').map(Number);
var told = 'causeway: needs Node.js ' + needed.join('.') + ' or later, this is ' + process.versions.node;

if (have[0] < needed[0] || (have[0] === needed[0] && have[1] < needed[1])) {
  console.error(told + ': install a current Node.js');
  process.exit(1);
} else {
  require('./lib/commands.cjs').main(process.argv.slice(2));
}
