// The package says its default export in a way that bundlers read differently.
export { Scrollbars as default } from './node_modules/react-custom-scrollbars-2/lib/index.js';
