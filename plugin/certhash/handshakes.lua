-- Assembles TLS handshakes from the frames of a conversation: client, server, and the requested server name.  Other
-- modules store what else belongs to a handshake in it.
--
--   local tracker = handshakes.new()
--   local handshake, role = tracker:observe(source, target, types, server_name, random)
--
-- Source and target are a frame's endpoints, as strings (handshakes.endpoint makes them); types are the handshake types in
-- the frame (1 ClientHello, 2 ServerHello, 11 Certificate, ...), random is the random value of a hello in it, and frames
-- come in the order of the capture.  A handshake is { client =, server =, server_name = }, the ends being nil where nothing
-- tells.  The role is the sender's: "client", "server", or nil.
--
-- There may be tens of thousands of handshakes in a capture, so that each is kept in few and small objects.

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

--- An endpoint as one string, from the address' bytes and the port (0 where there is none).
---@param address string bytes
---@param port integer
---@return string
function M.endpoint(address, port)
    return address .. string.char(math.floor(port / 256), port % 256)
end

--- The address' bytes and the port (nil where there is none) of an endpoint.
---@param endpoint string
---@return string address bytes
---@return integer|nil port
function M.split(endpoint)
    local high, low = endpoint:byte(-2, -1)
    local port = high * 256 + low
    return endpoint:sub(1, -3), port > 0 and port or nil
end

local function key(one, other)
    return one < other and one .. other or other .. one
end

-- The sender's role where the conversation began before the capture.  Servers' ports are the low ones.
local function guess(source, target, server_only, client_only)
    if server_only then
        return "server"
    elseif client_only then
        return "client"
    end
    local _, from = M.split(source)
    local _, to = M.split(target)
    if from and to and from ~= to then
        return from < to and "server" or "client"
    end
    return nil
end

local function role_of(endpoint, handshake)
    if handshake.client then
        return handshake.client == endpoint and "client" or "server"
    end
    return nil
end

--- The handshake that a frame belongs to, and its sender's role in it.
function Tracker:observe(source, target, types, server_name, random)
    local conversation = key(source, target)
    local handshake = self.current[conversation]
    local hello, answer, server_only, client_only = false, false, false, false
    for _, type in ipairs(types) do
        hello = hello or type == CLIENT_HELLO
        answer = answer or type == SERVER_HELLO
        server_only = server_only or SERVER_ONLY[type]
        client_only = client_only or type == CLIENT_HELLO or type == CLIENT_KEY_EXCHANGE
    end
    -- A ClientHello opens a handshake, unless it only repeats the one before: DTLS sends it again with a cookie, and
    -- TLS 1.3 after a HelloRetryRequest.  So does a second ServerHello, where the ClientHello is missing.  DTLS repeats
    -- either where packets were lost, and the random value with it (RFC 6347, section 4.2.4).
    local opens = hello and handshake
        and (handshake.client ~= source or handshake.answered and (not random or handshake.asked ~= random))
    local again = answer and handshake and handshake.answered and (not random or handshake.answered ~= random)
    if not handshake or opens or again then
        handshake = { server_name = again and handshake.server_name or nil }
        self.current[conversation] = handshake
        local role = guess(source, target, server_only, client_only)
        if role == "client" then
            handshake.client, handshake.server = source, target
        elseif role == "server" then
            handshake.client, handshake.server = target, source
        end
    end
    if answer then
        handshake.answered = random or true
    end
    if hello then
        handshake.asked = random
        handshake.server_name = server_name  -- a ClientHello that only repeats another asks for the same
    end
    return handshake, role_of(source, handshake)
end

--- The handshake that two endpoints are in, and the first one's role in it; nil where none was seen.
function Tracker:find(source, target)
    local handshake = self.current[key(source, target)]
    if handshake then
        return handshake, role_of(source, handshake)
    end
    return nil
end

return M
