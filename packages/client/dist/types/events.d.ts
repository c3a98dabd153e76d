export type Event = {
    /**
     * `message` unless the server named it.
     */
    name: string;
    id: string;
    /**
     * Parsed.
     */
    data: any;
};
/**
 * @typedef {object} Event
 * @property {string} name `message` unless the server named it.
 * @property {string} id
 * @property {any} data Parsed.
 */
/**
 * The events of an answer, in the pieces that it comes in; a piece that completes none is an empty list. It ends if
 * the server says that there is nothing to come back for (204). Otherwise it fails in the end, with what the server
 * wants to be waited for.
 * @param {Response} response
 * @returns {AsyncGenerator<Event[], void>}
 */
export declare function eventsOf(response: Response): AsyncGenerator<Event[], void>;
