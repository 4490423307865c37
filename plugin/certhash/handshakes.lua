-- TLS handshakes, put together from the frames of a conversation: who is the client, who the server, which name was
-- asked for, which certificates were sent, and which alert answered them.
--
--   local tracker = handshakes.new()
--   local handshake, role = tracker:observe(fact)
--
-- A fact is what one frame shows, and frames come in the order of the capture:
--   number          the frame's number
--   time            its time in seconds
--   source, target  the endpoints, each { address = bytes, port = number or nil }
--   types           the handshake types in the frame (1 ClientHello, 2 ServerHello, 11 Certificate, ...)
--   server_name     the name that a ClientHello asks for, or nil
--
-- The role is the sender's: "client", "server", or nil where nothing tells.

local M = {}

-- Handshake types (RFC 5246, section 7.4; RFC 6347; RFC 8446, section 4) that only a server sends: HelloRequest,
-- ServerHello, HelloVerifyRequest, HelloRetryRequest, EncryptedExtensions, ServerKeyExchange, CertificateRequest,
-- ServerHelloDone, CertificateStatus.
local SERVER_ONLY = {
    [0] = true, [2] = true, [3] = true, [6] = true, [8] = true, [12] = true, [13] = true, [14] = true, [22] = true,
}
local CLIENT_HELLO, SERVER_HELLO, CLIENT_KEY_EXCHANGE = 1, 2, 16

local Tracker = {}
Tracker.__index = Tracker

--- A tracker that has seen nothing.
function M.new()
    return setmetatable({ current = {} }, Tracker)
end

local function endpoint(side)
    return side.address .. "\0" .. (side.port or "")
end

-- The sender's role where the conversation began before the capture.  Servers' ports are the low ones.
local function guess(fact, server_only, client_only)
    if server_only then
        return "server"
    elseif client_only then
        return "client"
    end
    local from, to = fact.source.port, fact.target.port
    if from and to and from ~= to then
        return from < to and "server" or "client"
    end
    return nil
end

--- The handshake that a frame belongs to, and its sender's role in it.
function Tracker:observe(fact)
    local source, target = endpoint(fact.source), endpoint(fact.target)
    local key = source < target and source .. target or target .. source
    local handshake = self.current[key]
    local hello, answer, server_only, client_only
    for _, type in ipairs(fact.types) do
        hello = hello or type == CLIENT_HELLO
        answer = answer or type == SERVER_HELLO
        server_only = server_only or SERVER_ONLY[type]
        client_only = client_only or type == CLIENT_HELLO or type == CLIENT_KEY_EXCHANGE
    end
    -- A ClientHello opens a handshake, unless it only repeats the one before: DTLS sends it again with a cookie, and
    -- TLS 1.3 after a HelloRetryRequest.
    if not handshake or hello and (handshake.answered or handshake.client_key ~= source) then
        handshake = { frame = fact.number }
        self.current[key] = handshake
        local role = guess(fact, server_only, client_only)
        if role == "client" then
            handshake.client, handshake.server, handshake.client_key = fact.source, fact.target, source
        elseif role == "server" then
            handshake.client, handshake.server, handshake.client_key = fact.target, fact.source, target
        end
    end
    handshake.answered = handshake.answered or answer
    handshake.server_name = fact.server_name or handshake.server_name
    local role
    if handshake.client_key then
        role = handshake.client_key == source and "client" or "server"
    end
    return handshake, role
end

--- The handshake that two endpoints are in, and the first one's role in it; nil where none was seen.
function Tracker:find(from, to)
    local source, target = endpoint(from), endpoint(to)
    local handshake = self.current[source < target and source .. target or target .. source]
    if handshake and handshake.client_key then
        return handshake, handshake.client_key == source and "client" or "server"
    end
    return handshake, nil
end

return M
