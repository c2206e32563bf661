import { simulated } from './simulated.ts';

simulated('mesh');
